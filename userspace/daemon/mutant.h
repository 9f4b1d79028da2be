/* SPDX-License-Identifier: MIT */
/*
 * Rules that a test build can break, so that each test of a rule is seen to fail without it.
 *
 * With -Dmutants=true, MUTANT(bounds) is true when $TENON_MUTANT is "bounds". In any other build it is
 * constant false and compiles to nothing. The files mutants.list in tests/ name each rule and the test that
 * fails.
 */
#ifndef TN_MUTANT_H
#define TN_MUTANT_H

#ifdef TENON_MUTANTS
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool tn_mutant(int *cache, const char *name)
{
	int known = __atomic_load_n(cache, __ATOMIC_RELAXED);

	if (!known) {
		const char *env = getenv("TENON_MUTANT");

		known = env && !strcmp(env, name) ? 1 : -1;
		__atomic_store_n(cache, known, __ATOMIC_RELAXED);
	}
	return known > 0;
}

#define MUTANT(name) (__extension__({ static int cache_; tn_mutant(&cache_, #name); }))
#else
#define MUTANT(name) 0
#endif

#endif /* TN_MUTANT_H */
