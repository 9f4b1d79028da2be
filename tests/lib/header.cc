/* SPDX-License-Identifier: MIT */
/* The headers stand alone in C++11. */
#include <tenon/tenon.h>
#include <tenon/socket.h>

int header_cc(struct tenon_queue *queue);

int header_cc(struct tenon_queue *queue)
{
	struct tdi_op op = tenon_op_gemm(2, 1.0f, 0.0f, TDI_GEMM_TRANS_A);
	struct tdi_sqe *sqe = tenon_sqe_get(queue);

	tenon_prep_nop(sqe, op.op);
	return tenon_submit(queue) || !tenon_cqe_peek(queue);
}
