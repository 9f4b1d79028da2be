/* SPDX-License-Identifier: MIT */
/* libtenon: what the helpers write into commands and descriptors, and where prepared operations live. */
#include "mock.h"

#include <stdlib.h>

struct fixture {
	struct mock *mock;
	struct tenon_context *context;
	struct tenon_buffer *a;
	struct tenon_buffer *b;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || mock_setup((void **)&f->mock))
		return -1;
	*state = f;
	return tenon_open(f->mock->path, NULL, &f->context) ||
	       tenon_buffer_create(f->context, 4096, TDI_BUFFER_READ, &f->a) ||
	       tenon_buffer_create(f->context, 4096, TDI_BUFFER_WRITE, &f->b);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int err;

	tenon_close(f->context);
	err = mock_teardown((void **)&f->mock);
	free(f);
	return err;
}

static void test_prep(void **state)
{
	struct fixture *f = *state;
	struct tdi_sqe s = { 0 };

	tenon_prep_nop(&s, 1);
	assert_int_equal(s.opcode, TDI_OP_NOP);
	assert_int_equal(s.user_data, 1);

	s = (struct tdi_sqe){ 0 };
	tenon_prep_copy(&s, f->b, 11, f->a, 22, 33, 44);
	assert_int_equal(s.opcode, TDI_OP_COPY);
	assert_int_equal(s.copy.dst, tenon_buffer_id(f->b));
	assert_int_equal(s.copy.src, tenon_buffer_id(f->a));
	assert_int_equal(s.copy.dst_offset, 11);
	assert_int_equal(s.copy.src_offset, 22);
	assert_int_equal(s.copy.row_bytes, 33);
	assert_int_equal(s.copy.rows, 1);
	assert_int_equal(s.user_data, 44);

	s = (struct tdi_sqe){ 0 };
	tenon_prep_fill(&s, f->b, 8, 16, 0x1234, 2, 5);
	assert_int_equal(s.opcode, TDI_OP_FILL);
	assert_int_equal(s.fill.dst, tenon_buffer_id(f->b));
	assert_int_equal(s.fill.offset, 8);
	assert_int_equal(s.fill.bytes, 16);
	assert_int_equal(s.fill.pattern, 0x1234);
	assert_int_equal(s.fill.width, 2);
	assert_int_equal(s.user_data, 5);

	s = (struct tdi_sqe){ 0 };
	tenon_prep_signal(&s, f->b, 8, 9, TDI_SIGNAL_ADD, 6);
	assert_int_equal(s.opcode, TDI_OP_SIGNAL);
	assert_int_equal(s.signal.buffer, tenon_buffer_id(f->b));
	assert_int_equal(s.signal.offset, 8);
	assert_int_equal(s.signal.value, 9);
	assert_int_equal(s.signal.mode, TDI_SIGNAL_ADD);
	assert_int_equal(s.user_data, 6);

	s = (struct tdi_sqe){ 0 };
	tenon_prep_wait(&s, f->a, 16, 3, 1000, 7);
	assert_int_equal(s.opcode, TDI_OP_WAIT);
	assert_int_equal(s.wait.buffer, tenon_buffer_id(f->a));
	assert_int_equal(s.wait.offset, 16);
	assert_int_equal(s.wait.ref, 3);
	assert_int_equal(s.wait.timeout_ns, 1000);
	assert_int_equal(s.user_data, 7);
}

static void test_tensor(void **state)
{
	static const uint32_t shape[TDI_RANK_MAX] = { 2, 3, 4, 1, 1, 1, 1, 5 };
	struct fixture *f = *state;
	struct tdi_tensor t;
	int i;

	t = tenon_tensor(f->a, 64, TDI_F32, 3, shape);
	assert_int_equal(t.buffer, tenon_buffer_id(f->a));
	assert_int_equal(t.dtype, TDI_F32);
	assert_int_equal(t.rank, 3);
	assert_int_equal(t.offset, 64);
	assert_int_equal(t.stride[0], 48);
	assert_int_equal(t.stride[1], 16);
	assert_int_equal(t.stride[2], 4);
	assert_int_equal(t.shape[2], 4);
	for (i = 3; i < TDI_RANK_MAX; i++)
		assert_true(!t.shape[i] && !t.stride[i]);

	t = tenon_tensor(f->a, 0, TDI_I8, 8, shape);
	assert_int_equal(t.stride[7], 1);
	assert_int_equal(t.stride[0], 60);
	assert_int_equal(tenon_tensor(f->a, 0, TDI_I64, 1, shape).stride[0], 8);
	assert_int_equal(tenon_tensor(f->a, 0, TDI_I32, 1, shape).stride[0], 4);
	assert_int_equal(tenon_tensor(f->a, 0, TDI_I32, 0, NULL).rank, 0);
	/* A rank that can't be is the device's to refuse; reading beyond it isn't. */
	assert_int_equal(tenon_tensor(f->a, 0, TDI_F32, 9, shape).rank, 9);
	assert_int_equal(tenon_tensor(f->a, 0, TDI_F32, 256 + 2, shape).rank, 255);
}

static void test_attributes(void **state)
{
	struct tdi_op o;

	(void)state;
	assert_int_equal(tenon_f32_bits(1.0f), 0x3f800000);
	o = tenon_op_plain(TDI_TENSOR_ADD, 2);
	assert_true(o.op == TDI_TENSOR_ADD && o.inputs == 2 && o.outputs == 1 && !o.flags && !o.axis);
	o = tenon_op_gemm(3, 2.0f, -1.0f, TDI_GEMM_TRANS_B);
	assert_true(o.op == TDI_TENSOR_GEMM && o.inputs == 3 && o.alpha == 0x40000000 &&
		    o.beta == 0xbf800000 && o.flags == TDI_GEMM_TRANS_B);
	o = tenon_op_axis(TDI_TENSOR_SOFTMAX, -1, 0);
	assert_true(o.op == TDI_TENSOR_SOFTMAX && o.inputs == 1 && o.axis == UINT32_MAX);
	o = tenon_op_axis(TDI_TENSOR_GATHER, 1, 0);
	assert_true(o.op == TDI_TENSOR_GATHER && o.inputs == 2 && o.axis == 1);
	o = tenon_op_axis(TDI_TENSOR_ARGMAX, 0, TDI_ARGMAX_LAST);
	assert_true(o.op == TDI_TENSOR_ARGMAX && o.inputs == 1 && o.flags == TDI_ARGMAX_LAST);
	o = tenon_op_matmul_integer(-3, 4);
	assert_true(o.op == TDI_TENSOR_MATMUL_INTEGER && o.inputs == 2 && o.a_zero == (uint32_t)-3 &&
		    o.b_zero == 4);
	o = tenon_op_qlinear_matmul(0.5f, 1, 2, 3);
	assert_true(o.op == TDI_TENSOR_QLINEAR_MATMUL && o.a_zero == 1 && o.b_zero == 2 && o.y_zero == 3 &&
		    o.scale == 0x3f000000);
	o = tenon_op_quantize(0.5f, 3);
	assert_true(o.op == TDI_TENSOR_QUANTIZE && o.inputs == 1 && o.y_zero == 3 && o.scale == 0x3f000000);
	o = tenon_op_dequantize(0.5f, 3);
	assert_true(o.op == TDI_TENSOR_DEQUANTIZE && o.inputs == 1 && o.a_zero == 3 && o.scale == 0x3f000000);
}

static void test_op(void **state)
{
	static const uint32_t shape[2] = { 2, 2 };
	struct fixture *f = *state;
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_MATMUL, 2);
	struct tdi_tensor t[3] = {
		tenon_tensor(f->a, 0, TDI_F32, 2, shape),
		tenon_tensor(f->a, 16, TDI_F32, 2, shape),
		tenon_tensor(f->b, 0, TDI_F32, 2, shape),
	};
	struct tdi_sqe s = { 0 };
	struct tenon_op *o;

	assert_int_equal(tenon_op_create(f->context, &op, t, &o), 0);
	assert_memory_equal(tenon_op_descriptor(o), &op, sizeof(op));
	assert_memory_equal(tenon_op_descriptor(o) + 1, t, sizeof(t));
	tenon_prep_op(&s, o, 9);
	assert_int_equal(s.opcode, TDI_OP_TENSOR);
	assert_int_equal(s.user_data, 9);
	assert_int_equal(s.tensor.buffer, f->mock->last_buffer);
	assert_int_equal(s.tensor.bytes, TDI_OP_BYTES(3));
	assert_int_equal(s.tensor.offset % 8, 0);
	tenon_op_destroy(o);
	tenon_op_destroy(NULL);

	op.inputs = TDI_TENSORS_MAX;
	assert_int_equal(tenon_op_create(f->context, &op, t, &o), -EINVAL);
	assert_null(o);
	assert_string_equal(tenon_errstr(f->context), "tensors: needed 9, allowed 8");
}

/* More than one buffer of them: no two share a place, and places are used again. */
static void test_arena(void **state)
{
	enum { COUNT = 150 };
	struct fixture *f = *state;
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_RELU, 1);
	struct tdi_tensor t[2] = { { 0 } };
	struct tenon_op *o[COUNT], *again;
	struct tdi_op *place;
	int i;

	for (i = 0; i < COUNT; i++) {
		op.axis = (uint32_t)i;
		assert_int_equal(tenon_op_create(f->context, &op, t, &o[i]), 0);
	}
	assert_int_equal(f->mock->buffers, 2 + 3);
	for (i = 0; i < COUNT; i++)
		assert_int_equal(tenon_op_descriptor(o[i])->axis, i);
	place = tenon_op_descriptor(o[77]);
	tenon_op_destroy(o[77]);
	/* What a late command would find is no operator. */
	assert_int_equal(place->op, 0);
	for (i = 0; i < 3 * 64 - COUNT + 1; i++)
		assert_int_equal(tenon_op_create(f->context, &op, t, &again), 0);
	assert_int_equal(f->mock->buffers, 2 + 3);
	assert_int_equal(place->op, TDI_TENSOR_RELU);

	f->mock->refuse_error = -ENOSPC;
	mock_lie(f->mock, TENON_MSG_BUFFER_CREATE, REFUSE);
	assert_int_equal(tenon_op_create(f->context, &op, t, &again), -ENOSPC);
	assert_null(again);
	assert_int_equal(tenon_op_create(f->context, &op, t, &again), 0);
}

static void test_status_str(void **state)
{
	unsigned int s, words = 0;

	(void)state;
	for (s = 0; s < 0x100; s++)
		if (strcmp(tenon_status_str(s), "unknown status"))
			words++;
	/* As many as enum tdi_status has. */
	assert_int_equal(words, 21);
	assert_string_equal(tenon_status_str(TDI_SC_ABORTED), "aborted");
	assert_string_equal(tenon_status_str(UINT32_MAX), "unknown status");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_prep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tensor, setup, teardown),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test_setup_teardown(test_op, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arena, setup, teardown),
		cmocka_unit_test(test_status_str),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
