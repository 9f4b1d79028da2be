/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SUITES_H
#define SUITES_H

#include <kunit/test.h>

extern struct kunit_suite tenon_buffer_suite;
extern struct kunit_suite tenon_events_suite;
extern struct kunit_suite tenon_queue_suite;
extern struct kunit_suite tenon_usage_suite;

#endif /* SUITES_H */
