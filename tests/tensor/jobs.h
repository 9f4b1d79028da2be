/* SPDX-License-Identifier: MIT */
/* A small valid command of each operator, for tests that change it. Buffers: inputs 0 to 2, output 3. */
#ifndef JOBS_H
#define JOBS_H

#include "rig.h"

#define OPERATORS	11	/* numbered from 1 */
#define JOB_BYTES	(256 * 1024)	/* of each buffer */
#define OUT		3	/* the output's buffer */

struct job {
	struct tdi_op op;
	struct tdi_tensor t[4];
};

/* A rig with the four buffers filled, and a command on them that ends OK. */
struct rig *job_rig(enum rig_layout layout);
struct job job_of(const struct rig *rig, uint16_t op);
/* One that needs several steps. */
struct job long_job_of(const struct rig *rig, uint16_t op);
struct tdi_tensor *job_out(struct job *job);

#endif /* JOBS_H */
