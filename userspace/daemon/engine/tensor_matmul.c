// SPDX-License-Identifier: MIT
/*
 * Matrix products: MATMUL, GEMM, MATMUL_INTEGER and QLINEAR_MATMUL [TEN].
 *
 * The output is done in tiles whose sums are kept in private memory until they are complete. A piece copies
 * for some steps k of the inner axis the tile's part of both factors to scratch, as panel[k][element], f32 or
 * i16 with the zero point taken off, and adds their products. Each sum is added in order of k, one rounding
 * for each product and each addition, so that a result depends on neither tiles, pieces nor strides.
 */
#include "tensor.h"

#define PANEL_BYTES	(64 * 1024)
#define PANEL_ELEMENTS	(PANEL_BYTES / sizeof(float))

/* Tiles are wide for a factor whose neighbours are next to each other, else square. */
#define TILE_WIDE	1024
#define TILE_ROWS	16
#define TILE_APART	64
/* An axis this short isn't worth being the vector loop's if the other one is longer. */
#define SHORT		8

#define ROWS		0
#define COLUMNS		1

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void set_factor(struct tn_factor *f, const struct tdi_tensor *tensor, unsigned int operand,
		       unsigned int own, unsigned int inner)
{
	f->operand = operand;
	f->extent = tensor->shape[own];
	f->stride = tensor->stride[own];
	f->inner = tensor->stride[inner];
}

/* The shorter way to a row is along the inner axis: load the tile so, and turn it when it is packed. */
static bool is_turned(const struct tn_factor *f, uint32_t size)
{
	return f->inner == size && f->stride != size;
}

void tn_matmul_setup(struct tn_tensor_exec *x)
{
	unsigned int out = tn_tensor_out(&x->op), r = x->tensor[out].rank - 2u, c = r + 1, axis;
	bool turn_a = x->op.op == TDI_TENSOR_GEMM && x->op.flags & TDI_GEMM_TRANS_A;
	bool turn_b = x->op.op == TDI_TENSOR_GEMM && x->op.flags & TDI_GEMM_TRANS_B;
	struct tn_factor *rows = &x->factor[ROWS], *columns = &x->factor[COLUMNS];
	uint32_t size = tn_dtype_bytes(x->tensor[0].dtype);

	tn_loop_init(&x->loop);
	for (axis = 0; axis < r; axis++) {
		uint64_t stride[TN_LOOP_OPERANDS] = {
			x->tensor[0].stride[axis], x->tensor[1].stride[axis], x->tensor[out].stride[axis],
		};

		tn_loop_axis(&x->loop, x->tensor[out].shape[axis], stride);
	}
	set_factor(rows, &x->tensor[0], 0, turn_a ? c : r, turn_a ? r : c);
	set_factor(columns, &x->tensor[1], 1, turn_b ? r : c, turn_b ? c : r);
	rows->out = x->tensor[out].stride[r];
	columns->out = x->tensor[out].stride[c];
	if (x->op.op == TDI_TENSOR_GEMM && out == 3) {
		rows->addend = tn_broadcast_stride(&x->tensor[2], 2, 0);
		columns->addend = tn_broadcast_stride(&x->tensor[2], 2, 1);
	}
	x->extent = x->tensor[0].shape[turn_a ? r : c];

	/* A product commutes to the bit: the transposed problem is the same one. */
	if (columns->extent < SHORT && rows->extent > columns->extent) {
		struct tn_factor swap = *rows;

		*rows = *columns;
		*columns = swap;
	}
	columns->tile = (uint32_t)min(columns->extent, is_turned(columns, size) ? TILE_APART : TILE_WIDE);
	rows->tile = (uint32_t)min(rows->extent, TILE_ROWS);
	columns->tile = (uint32_t)min(columns->tile, TN_TILE_SUMS / rows->tile);
	rows->tile = (uint32_t)min(rows->extent, TN_TILE_SUMS / columns->tile);
}

/* A tile of the output under way: its origin in the operands, its size. */
struct tile {
	uint64_t offset[TN_LOOP_OPERANDS];	/* of A, of B, of the output, of C */
	uint64_t rows;
	uint64_t columns;
	uint64_t count;		/* of tiles in all */
};

static struct tile tile_at(const struct tn_tensor_exec *x)
{
	const struct tn_factor *rows = &x->factor[ROWS], *columns = &x->factor[COLUMNS];
	unsigned int out = tn_tensor_out(&x->op);
	uint64_t down = (rows->extent + rows->tile - 1) / rows->tile;
	uint64_t across = (columns->extent + columns->tile - 1) / columns->tile;
	uint64_t row = x->position % down * rows->tile;
	uint64_t column = x->position / down % across * columns->tile;
	struct tile t = {
		.offset = { x->tensor[0].offset, x->tensor[1].offset, x->tensor[out].offset },
		.rows = min(rows->extent - row, rows->tile),
		.columns = min(columns->extent - column, columns->tile),
		.count = x->elements / (rows->extent * columns->extent) * down * across,
	};

	tn_loop_at(&x->loop, x->position / down / across, t.offset);
	t.offset[rows->operand] += row * rows->stride;
	t.offset[columns->operand] += column * columns->stride;
	t.offset[2] += row * rows->out + column * columns->out;
	if (out == 3)
		t.offset[3] = x->tensor[2].offset + row * rows->addend + column * columns->addend;
	return t;
}

/* Steps k and elements [0, @count) of a factor to @panel. @staging is on the way. */
static int pack(const struct tn_table *table, struct tn_exec *exec, const struct tn_factor *f,
		uint64_t offset, uint64_t steps, uint64_t count, void *staging, void *panel)
{
	const struct tn_tensor_exec *x = &exec->tensor;
	uint8_t dtype = x->tensor[0].dtype;
	bool turned = is_turned(f, tn_dtype_bytes(dtype)), floats = dtype == TDI_F32;
	int zero = (int)(f->operand ? x->op.b_zero : x->op.a_zero);
	const int8_t *from = staging;
	int16_t *to = panel;
	uint64_t k, i;
	int status;

	if (floats && !turned)
		staging = panel;
	offset += x->reduced * f->inner;
	if (turned)
		status = tn_tensor_load_tile(table, exec, f->operand, offset, f->stride, f->inner, count,
					     steps, staging);
	else
		status = tn_tensor_load_tile(table, exec, f->operand, offset, f->inner, f->stride, steps,
					     count, staging);
	if (status)
		return status;
	if (floats && turned) {
		for (i = 0; i < count; i++)
			tn_tensor_copy((float *)panel + i, count * sizeof(float),
				       (float *)staging + i * steps, sizeof(float), steps, sizeof(float));
	} else if (turned) {
		for (i = 0; i < count; i++)
			for (k = 0; k < steps; k++)
				to[k * count + i] = (int16_t)(*from++ - zero);
	} else if (!floats) {
		for (i = 0; i < steps * count; i++)
			to[i] = (int16_t)(from[i] - zero);
	}
	return TDI_SC_OK;
}

/* sum[j] += a[k] b[k][j], in order of k */
static void multiply_f32(float *restrict sum, const float *restrict a, const float *restrict b, uint64_t rows,
			 uint64_t columns, uint64_t steps)
{
	uint64_t i, j, k;

	for (i = 0; i < rows; i++, sum += columns) {
		for (k = 0; k + 4 <= steps; k += 4) {
			const float *restrict b0 = b + k * columns, *b1 = b0 + columns, *b2 = b1 + columns;
			const float *restrict b3 = b2 + columns, *p = a + k * rows + i;
			float a0 = p[0], a1 = p[rows], a2 = p[2 * rows], a3 = p[3 * rows];

			for (j = 0; j < columns; j++)
				sum[j] = (((sum[j] + a0 * b0[j]) + a1 * b1[j]) + a2 * b2[j]) + a3 * b3[j];
		}
		for (; k < steps; k++)
			for (j = 0; j < columns; j++)
				sum[j] += a[k * rows + i] * b[k * columns + j];
	}
}

/* The same modulo 2^32; with factors of -255 to 255 four products stay far below 2^31. */
static void multiply_i16(uint32_t *restrict sum, const int16_t *restrict a, const int16_t *restrict b,
			 uint64_t rows, uint64_t columns, uint64_t steps)
{
	uint64_t i, j, k;

	for (i = 0; i < rows; i++, sum += columns) {
		for (k = 0; k + 4 <= steps; k += 4) {
			const int16_t *restrict b0 = b + k * columns, *b1 = b0 + columns, *b2 = b1 + columns;
			const int16_t *restrict b3 = b2 + columns, *p = a + k * rows + i;
			int16_t a0 = p[0], a1 = p[rows], a2 = p[2 * rows], a3 = p[3 * rows];

			for (j = 0; j < columns; j++)
				sum[j] += (uint32_t)(a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]);
		}
		for (; k < steps; k++)
			for (j = 0; j < columns; j++)
				sum[j] += (uint32_t)(a[k * rows + i] * b[k * columns + j]);
	}
}

/* How many steps k fill half a unit of work. */
static uint64_t steps_of(const struct tn_tensor_exec *x, const struct tile *t)
{
	uint32_t size = tn_dtype_bytes(x->tensor[0].dtype);
	uint64_t elements[2] = { t->rows, t->columns }, work = t->rows * t->columns, limit = PANEL_ELEMENTS;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct tn_factor *f = &x->factor[i];

		if (is_turned(f, size))
			work += elements[i] * size;
		else
			work += TN_ACCESS_WORK + elements[i] * (f->stride == size ? size : TN_APART_WORK);
		limit = min(limit, PANEL_ELEMENTS / elements[i]);
	}
	limit = min(limit, TN_UNIT_WORK / 2 / work);
	return min(limit ? limit : 1, x->extent - x->reduced);
}

static int accumulate(const struct tn_table *table, struct tn_exec *exec, const struct tile *t,
		      struct tn_scratch *scratch)
{
	struct tn_tensor_exec *x = &exec->tensor;
	void *a = scratch->byte, *b = scratch->byte + PANEL_BYTES, *staging = scratch->byte + 2 * PANEL_BYTES;
	const struct tn_factor *rows = &x->factor[ROWS], *columns = &x->factor[COLUMNS];
	uint64_t steps = steps_of(x, t), i;
	int status;

	status = pack(table, exec, rows, t->offset[rows->operand], steps, t->rows, staging, a);
	if (status)
		return status;
	status = pack(table, exec, columns, t->offset[columns->operand], steps, t->columns, staging, b);
	if (status)
		return status;
	if (!x->reduced)
		for (i = 0; i < t->rows * t->columns; i++)
			x->acc.u32[i] = 0;	/* 0.0f too */
	if (x->tensor[0].dtype == TDI_F32)
		multiply_f32(x->acc.f32, a, b, t->rows, t->columns, steps);
	else
		multiply_i16(x->acc.u32, a, b, t->rows, t->columns, steps);
	exec->work += steps * t->rows * t->columns;
	x->reduced += steps;
	return TN_MORE;
}

/* From the complete sums of one row to what the output takes. */
static int finish_row(const struct tn_table *table, struct tn_exec *exec, const struct tile *t, uint64_t row,
		      struct tn_scratch *scratch)
{
	struct tn_tensor_exec *x = &exec->tensor;
	uint64_t stride = x->factor[COLUMNS].addend, addend = t->offset[3] + row * x->factor[ROWS].addend, j;
	float *c = (float *)(void *)scratch->byte, *sum = x->acc.f32 + row * t->columns;
	const uint32_t *integer = x->acc.u32 + row * t->columns;
	float alpha = tn_f32(x->op.alpha), beta = tn_f32(x->op.beta), scale = tn_f32(x->op.scale);
	unsigned int out = tn_tensor_out(&x->op);
	int8_t *y = (int8_t *)scratch->byte;
	void *from = sum;
	int status;

	if (x->op.op == TDI_TENSOR_GEMM) {
		if (out == 3) {
			status = tn_tensor_load(table, exec, 2, addend, stride, t->columns, c);
			if (status)
				return status;
			for (j = 0; j < t->columns; j++)
				c[j] = alpha * sum[j] + beta * c[j];
		} else {
			for (j = 0; j < t->columns; j++)
				c[j] = alpha * sum[j];
		}
		from = c;
	} else if (x->op.op == TDI_TENSOR_QLINEAR_MATMUL) {
		for (j = 0; j < t->columns; j++)
			y[j] = tn_quantize((float)(int32_t)integer[j] * scale, (int32_t)x->op.y_zero);
		from = y;
	}
	return tn_tensor_store(table, exec, out, t->offset[2] + row * x->factor[ROWS].out,
			       x->factor[COLUMNS].out, t->columns, from);
}

int tn_matmul_piece(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	struct tn_tensor_exec *x = &exec->tensor;
	struct tile t = tile_at(x);
	uint64_t row;
	int status;

	if (x->reduced < x->extent)
		return accumulate(table, exec, &t, scratch);
	for (row = 0; row < t.rows; row++) {
		status = finish_row(table, exec, &t, row, scratch);
		if (status)
			return status;
	}
	x->reduced = 0;
	return ++x->position < t.count ? TN_MORE : TDI_SC_OK;
}
