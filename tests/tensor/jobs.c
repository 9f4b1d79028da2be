// SPDX-License-Identifier: MIT
/* See jobs.h. */
#include <stdlib.h>

#include "jobs.h"

struct rig *job_rig(enum rig_layout layout)
{
	struct rig *rig = rig_new(layout);
	int32_t *data = malloc(JOB_BYTES);
	unsigned int i, b;

	assert_non_null(data);
	/* Small integers, as f32 (inputs 0 and 2), i32 (1, where GATHER's indices are) or i8 alike. */
	for (b = 0; b <= OUT; b++) {
		for (i = 0; i < JOB_BYTES / 4; i++)
			data[i] = b == 1 ? (int32_t)(i % 3) : (int32_t)rig_f32((float)(i % 7) - 3);
		rig_map(rig, b, data, JOB_BYTES, b == OUT ? TDI_BUFFER_WRITE : TDI_BUFFER_READ);
	}
	free(data);
	return rig;
}

struct tdi_tensor *job_out(struct job *job)
{
	return &job->t[job->op.inputs];
}

struct job job_of(const struct rig *rig, uint16_t op)
{
	uint32_t a = rig->map[0].id, b = rig->map[1].id, c = rig->map[2].id, y = rig->map[OUT].id;
	struct job job = { .op = { .op = op, .inputs = 1, .outputs = 1 } };

	switch (op) {
	case TDI_TENSOR_MATMUL:
		job.op.inputs = 2;
		job.t[0] = TENSOR(a, TDI_F32, 0, 2, 3, 4);
		job.t[1] = TENSOR(b, TDI_F32, 0, 2, 4, 5);
		job.t[2] = TENSOR(y, TDI_F32, 0, 2, 3, 5);
		break;
	case TDI_TENSOR_GEMM:
		job.op.inputs = 3;
		job.op.flags = TDI_GEMM_TRANS_A | TDI_GEMM_TRANS_B;
		job.op.alpha = rig_f32(0.5f);
		job.op.beta = rig_f32(2);
		job.t[0] = TENSOR(a, TDI_F32, 0, 4, 3);
		job.t[1] = TENSOR(b, TDI_F32, 0, 5, 4);
		job.t[2] = TENSOR(c, TDI_F32, 0, 1, 5);
		job.t[3] = TENSOR(y, TDI_F32, 0, 3, 5);
		break;
	case TDI_TENSOR_ADD:
		job.op.inputs = 2;
		job.t[0] = TENSOR(a, TDI_F32, 0, 2, 3, 1);
		job.t[1] = TENSOR(b, TDI_F32, 0, 3, 4);
		job.t[2] = TENSOR(y, TDI_F32, 0, 2, 3, 4);
		break;
	case TDI_TENSOR_RELU:
		job.op.a_zero = (uint32_t)-5;
		job.t[0] = TENSOR(a, TDI_I8, 0, 3, 4);
		job.t[1] = TENSOR(y, TDI_I8, 0, 3, 4);
		break;
	case TDI_TENSOR_SOFTMAX:
		job.op.axis = (uint32_t)-1;
		job.t[0] = TENSOR(a, TDI_F32, 0, 3, 4);
		job.t[1] = TENSOR(y, TDI_F32, 0, 3, 4);
		break;
	case TDI_TENSOR_GATHER:
		job.op.inputs = 2;
		job.op.axis = 1;
		job.t[0] = TENSOR(a, TDI_F32, 0, 3, 4, 5);
		job.t[1] = TENSOR(b, TDI_I32, 0, 2, 6);
		job.t[2] = TENSOR(y, TDI_F32, 0, 3, 2, 6, 5);
		break;
	case TDI_TENSOR_ARGMAX:
		job.op.axis = 1;
		job.op.flags = TDI_ARGMAX_LAST;
		job.t[0] = TENSOR(a, TDI_F32, 0, 3, 4, 5);
		job.t[1] = TENSOR(y, TDI_I32, 0, 3, 1, 5);
		break;
	case TDI_TENSOR_MATMUL_INTEGER:
	case TDI_TENSOR_QLINEAR_MATMUL:
		job.op.inputs = 2;
		job.op.a_zero = 127;
		job.op.b_zero = (uint32_t)-128;
		job.t[0] = TENSOR(a, TDI_I8, 0, 3, 4);
		job.t[1] = TENSOR(b, TDI_I8, 0, 4, 5);
		job.t[2] = TENSOR(y, TDI_I32, 0, 3, 5);
		if (op == TDI_TENSOR_QLINEAR_MATMUL) {
			job.op.y_zero = 3;
			job.op.scale = rig_f32(0.01f);
			job.t[2] = TENSOR(y, TDI_I8, 0, 3, 5);
		}
		break;
	case TDI_TENSOR_QUANTIZE:
		job.op.y_zero = 3;
		job.op.scale = rig_f32(0.25f);
		job.t[0] = TENSOR(a, TDI_F32, 0, 3, 4);
		job.t[1] = TENSOR(y, TDI_I8, 0, 3, 4);
		break;
	default:
		job.op.a_zero = 3;
		job.op.scale = rig_f32(0.25f);
		job.t[0] = TENSOR(a, TDI_I8, 0, 3, 4);
		job.t[1] = TENSOR(y, TDI_F32, 0, 3, 4);
		break;
	}
	return job;
}

struct job long_job_of(const struct rig *rig, uint16_t op)
{
	uint32_t a = rig->map[0].id, b = rig->map[1].id, c = rig->map[2].id, y = rig->map[OUT].id;
	struct job job = job_of(rig, op);
	uint8_t dtype = job.t[0].dtype, out = job_out(&job)->dtype;

	switch (op) {
	case TDI_TENSOR_MATMUL:
	case TDI_TENSOR_GEMM:
	case TDI_TENSOR_MATMUL_INTEGER:
	case TDI_TENSOR_QLINEAR_MATMUL:
		job.op.flags = 0;
		job.t[0] = TENSOR(a, dtype, 0, 3, 20000);
		job.t[1] = TENSOR(b, dtype, 0, 20000, 3);
		job.t[2] = TENSOR(c, TDI_F32, 0, 3);
		*job_out(&job) = TENSOR(y, out, 0, 3, 3);
		break;
	case TDI_TENSOR_SOFTMAX:
		job.t[0] = TENSOR(a, TDI_F32, 0, 2, 30000);
		job.t[1] = TENSOR(y, TDI_F32, 0, 2, 30000);
		break;
	case TDI_TENSOR_ARGMAX:
		job.t[0] = TENSOR(a, TDI_F32, 0, 2, 30000);
		job.t[1] = TENSOR(y, TDI_I32, 0, 2, 1);
		break;
	case TDI_TENSOR_GATHER:
		job.op.axis = 0;
		job.t[0] = TENSOR(a, TDI_F32, 0, 4);
		job.t[1] = TENSOR(b, TDI_I32, 0, 5000);
		job.t[2] = TENSOR(y, TDI_F32, 0, 5000);
		break;
	default:
		job.t[0] = TENSOR(a, dtype, 0, 60000);
		job.t[1] = TENSOR(b, dtype, 0, 60000);
		*job_out(&job) = TENSOR(y, out, 0, 60000);
		break;
	}
	return job;
}
