/* SPDX-License-Identifier: MIT */
/* tenonctl: names and numbers for people. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "ctl.h"

int64_t ctl_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What a device calls itself goes to a terminal: printable ASCII alone. */
const char *ctl_string(char *to, size_t size, const __u8 *from, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes && i < size - 1 && from[i]; i++)
		to[i] = from[i] < ' ' || from[i] > '~' ? '?' : (char)from[i];
	to[i] = 0;
	return to;
}

const char *ctl_size(char *to, size_t size, uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned int unit = 0;

	while (unit < 4 && bytes >= 1024 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	snprintf(to, size, "%" PRIu64 " %s", bytes, units[unit]);
	return to;
}

const char *ctl_time(char *to, size_t size, uint64_t ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	unsigned int unit = 0;

	while (unit < 3 && ns >= 1000 && ns % 1000 == 0) {
		ns /= 1000;
		unit++;
	}
	snprintf(to, size, "%" PRIu64 " %s", ns, units[unit]);
	return to;
}

#define NAME(table, index) ((index) < sizeof(table) / sizeof((table)[0]) ? (table)[index] : NULL)

const char *ctl_feature(unsigned int bit)
{
	static const char *const names[] = { "tensor", "exec", "device-memory", "fair", "energy",
					     "restartable", "event-queues" };

	return NAME(names, bit);
}

const char *ctl_opcode(unsigned int opcode)
{
	static const char *const names[] = {
		[TDI_OP_NOP] = "nop",
		[TDI_OP_COPY] = "copy",
		[TDI_OP_FILL] = "fill",
		[TDI_OP_SIGNAL] = "signal",
		[TDI_OP_WAIT] = "wait",
		[TDI_OP_EXEC] = "exec",
		[TDI_OP_TENSOR] = "tensor",
	};

	return NAME(names, opcode);
}

const char *ctl_tensor_op(unsigned int op)
{
	static const char *const names[] = {
		[TDI_TENSOR_MATMUL] = "MatMul",
		[TDI_TENSOR_GEMM] = "Gemm",
		[TDI_TENSOR_ADD] = "Add",
		[TDI_TENSOR_RELU] = "Relu",
		[TDI_TENSOR_SOFTMAX] = "Softmax",
		[TDI_TENSOR_GATHER] = "Gather",
		[TDI_TENSOR_ARGMAX] = "ArgMax",
		[TDI_TENSOR_MATMUL_INTEGER] = "MatMulInteger",
		[TDI_TENSOR_QLINEAR_MATMUL] = "QLinearMatMul",
		[TDI_TENSOR_QUANTIZE] = "QuantizeLinear",
		[TDI_TENSOR_DEQUANTIZE] = "DequantizeLinear",
	};

	return NAME(names, op);
}

const char *ctl_dtype(unsigned int dtype)
{
	static const char *const names[] = {
		[TDI_F32] = "f32",
		[TDI_I8] = "i8",
		[TDI_I32] = "i32",
		[TDI_I64] = "i64",
	};

	return NAME(names, dtype);
}

void ctl_json_print(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

void ctl_json_string(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

void ctl_json_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

static const char *scaled(char *to, size_t size, double value, const char *const *units, double step)
{
	while (value >= step && units[1]) {
		value /= step;
		units++;
	}
	snprintf(to, size, value < 10 && value != (uint64_t)value ? "%.2f%s" : value < 100 &&
		 value != (uint64_t)value ? "%.1f%s" : "%.0f%s", value, *units);
	return to;
}

/* For columns: at most six characters. */
const char *ctl_short_size(char *to, size_t size, double bytes)
{
	static const char *const units[] = { "", "K", "M", "G", "T", "P", "E", NULL };

	return scaled(to, size, bytes, units, 1024);
}

const char *ctl_short_time(char *to, size_t size, double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s", "ks", "Ms", NULL };

	return scaled(to, size, ns, units, 1000);
}

const char *ctl_short_count(char *to, size_t size, double count)
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P", NULL };

	return scaled(to, size, count, units, 1000);
}
