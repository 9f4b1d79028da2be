/* SPDX-License-Identifier: MIT */
/*
 * tenonctl validate: is the device there, how fast is it, and does it compute right? The matrix product is
 * compared with a plain loop on the host; what is copied is compared byte by byte.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define SECOND		1000000000LL
#define PATIENCE	(60 * SECOND)	/* for one command */
#define WARM_UP		1000
#define ROUND_TRIPS	10000
#define COPIES		64
#define DEFAULT_COPY	(16u << 20)

enum { ROWS = 48, INNER = 160, COLUMNS = 72 };	/* of the product; none is a multiple of another */

enum verdict { PASS, FAIL, SKIP };

struct check {
	const struct ctl *ctl;
	struct tenon_context *context;
	struct tenon_queue *queue;
	struct json_object *json;	/* of this check */
	const char *name;
	bool lost;			/* a command is still under way, or the device is gone */
	int64_t started;
	int64_t shown;
	char text[160];			/* the result in words */
};

static enum verdict say(struct check *c, enum verdict verdict, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static enum verdict say(struct check *c, enum verdict verdict, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->text, sizeof(c->text), format, args);
	va_end(args);
	return verdict;
}

/* After a second, and then ten times a second, on a terminal. */
static void progress(struct check *c, unsigned int done, unsigned int total)
{
	int64_t now = ctl_now();

	if (!c->ctl->terminal || now - c->started < SECOND || now - c->shown < SECOND / 10)
		return;
	c->shown = now;
	printf("\r  %-11s %3u %%", c->name, 100 * done / total);
	fflush(stdout);
}

/* Run the command that was prepared. 0, or what went wrong is in c->text. */
static int run(struct check *c, unsigned int done, unsigned int total)
{
	int64_t end = ctl_now() + PATIENCE;
	const struct tdi_cqe *cqe;
	uint16_t status;
	int error;

	error = tenon_submit(c->queue);
	while (!error) {
		error = tenon_wait(c->queue, 1, SECOND / 10);
		if (!error)
			break;
		/* A process that was stopped and goes on gets EINTR without any handler. */
		if (error == -EINTR || (error == -ETIMEDOUT && ctl_now() < end))
			error = 0;
		progress(c, done, total);
	}
	if (error) {
		c->lost = true;
		say(c, FAIL, error == -ETIMEDOUT ? "no completion within %lld s" : "the device died",
		    PATIENCE / SECOND);
		return error;
	}
	cqe = tenon_cqe_peek(c->queue);
	status = cqe->status;
	tenon_cqe_seen(c->queue);
	if (status) {
		say(c, FAIL, "the command ended with status %#x: %s", status, tenon_status_str(status));
		return -EIO;
	}
	progress(c, done + 1, total);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* ----------------------------------------------------------------------------- round trips */

static enum verdict round_trip(struct check *c)
{
	int64_t *times = calloc(ROUND_TRIPS, sizeof(*times)), end, start;
	int i, count = 0;

	if (!times)
		return say(c, FAIL, "out of memory");
	end = ctl_now() + 5 * SECOND;
	for (i = -WARM_UP; i < ROUND_TRIPS && (count < 100 || ctl_now() < end); i++) {
		tenon_prep_nop(tenon_sqe_get(c->queue), 0);
		start = ctl_now();
		if (run(c, (unsigned int)(i + WARM_UP), ROUND_TRIPS + WARM_UP)) {
			free(times);
			return FAIL;
		}
		if (i >= 0)
			times[count++] = ctl_now() - start;
	}
	qsort(times, (size_t)count, sizeof(*times), compare);
	say(c, PASS, "no-op: median %" PRId64 " ns, 99 %% within %" PRId64 " ns", times[count / 2],
	    times[count * 99 / 100]);
	if (c->json) {
		json_object_object_add(c->json, "median_ns", json_object_new_int64(times[count / 2]));
		json_object_object_add(c->json, "p99_ns", json_object_new_int64(times[count * 99 / 100]));
		json_object_object_add(c->json, "count", json_object_new_int(count));
	}
	free(times);
	return PASS;
}

/* --------------------------------------------------------------------------------- copies */

static void scramble(unsigned char *data, uint64_t bytes)
{
	uint64_t x = 0x9e3779b97f4a7c15, i;

	for (i = 0; i < bytes; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (unsigned char)(x >> 32);
	}
}

static enum verdict copy_between(struct check *c, struct tenon_buffer *src, struct tenon_buffer *dst,
				 uint64_t bytes)
{
	int64_t times[COPIES], end, start;
	int i, count = 0;
	char size[32];
	double rate;

	scramble(tenon_buffer_data(src), bytes);
	end = ctl_now() + 2 * SECOND;
	for (i = -1; i < COPIES && (count < 3 || ctl_now() < end); i++) {
		tenon_prep_copy(tenon_sqe_get(c->queue), dst, 0, src, 0, bytes, 0);
		start = ctl_now();
		if (run(c, (unsigned int)(i + 1), COPIES + 1))
			return FAIL;
		/* The first one touches the memory for the first time. */
		if (i >= 0)
			times[count++] = ctl_now() - start;
	}
	if (memcmp(tenon_buffer_data(src), tenon_buffer_data(dst), bytes))
		return say(c, FAIL, "the copy differs from what was copied");
	qsort(times, (size_t)count, sizeof(*times), compare);
	rate = (double)bytes / (double)times[count / 2];
	if (c->json) {
		json_object_object_add(c->json, "bytes", json_object_new_uint64(bytes));
		json_object_object_add(c->json, "gb_per_s", json_object_new_double(rate));
		json_object_object_add(c->json, "count", json_object_new_int(count));
	}
	return say(c, PASS, "%s: median %.2f GB/s, content compared", ctl_size(size, sizeof(size), bytes),
		   rate);
}

static enum verdict copy(struct check *c)
{
	const struct tenon_limits *limits = tenon_limits(c->context);
	uint64_t bytes = c->ctl->copy_bytes;
	struct tenon_buffer *src = NULL, *dst = NULL;
	enum verdict verdict;

	if (!bytes)
		bytes = DEFAULT_COPY <= limits->memory_bytes / 4 ? DEFAULT_COPY : limits->memory_bytes / 4;
	if (tenon_buffer_create(c->context, bytes, TDI_BUFFER_READ, &src) ||
	    tenon_buffer_create(c->context, bytes, TDI_BUFFER_WRITE, &dst))
		verdict = say(c, FAIL, "%s", tenon_errstr(c->context));
	else
		verdict = copy_between(c, src, dst, bytes);
	tenon_buffer_destroy(src);
	tenon_buffer_destroy(dst);
	return verdict;
}

/* --------------------------------------------------------------------------- matrix product */

/* Numbers of both signs whose products round. */
static float element(unsigned int i)
{
	return (float)((int)(i * 2654435761u >> 8 & 0xffff) - 0x8000) / 30000.0f;
}

/* The largest error, as a part of what rounding at each step of a sum in any order can make of it. */
static double worst(const float *a, const float *b, const float *y)
{
	double largest = 0;
	int i, j, k;

	for (i = 0; i < ROWS; i++) {
		for (j = 0; j < COLUMNS; j++) {
			double sum = 0, size = 0, error;

			for (k = 0; k < INNER; k++) {
				double product = (double)a[i * INNER + k] * b[k * COLUMNS + j];

				sum += product;
				size += fabs(product);
			}
			error = fabs(sum - (double)y[i * COLUMNS + j]) / (INNER * (double)FLT_EPSILON * size);
			if (isnan(error))
				return INFINITY;
			largest = fmax(largest, error);
		}
	}
	return largest;
}

static enum verdict multiply(struct check *c, struct tenon_buffer *buffer)
{
	static const uint32_t shape_a[] = { ROWS, INNER }, shape_b[] = { INNER, COLUMNS },
			      shape_y[] = { ROWS, COLUMNS };
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_MATMUL, 2);
	struct tenon_op *prepared;
	float *a = tenon_buffer_data(buffer), *b = a + ROWS * INNER, *y = b + INNER * COLUMNS;
	struct tdi_tensor tensors[] = {
		tenon_tensor(buffer, 0, TDI_F32, 2, shape_a),
		tenon_tensor(buffer, (uint64_t)((char *)b - (char *)a), TDI_F32, 2, shape_b),
		tenon_tensor(buffer, (uint64_t)((char *)y - (char *)a), TDI_F32, 2, shape_y),
	};
	unsigned int i;
	double error;
	int failed;

	for (i = 0; i < ROWS * INNER + INNER * COLUMNS; i++)
		a[i] = element(i);
	memset(y, 0xff, ROWS * COLUMNS * sizeof(*y));
	if (tenon_op_create(c->context, &op, tensors, &prepared))
		return say(c, FAIL, "%s", tenon_errstr(c->context));
	tenon_prep_op(tenon_sqe_get(c->queue), prepared, 0);
	failed = run(c, 0, 1);
	tenon_op_destroy(prepared);
	if (failed)
		return FAIL;
	error = worst(a, b, y);
	if (c->json && isfinite(error))
		json_object_object_add(c->json, "error", json_object_new_double(error));
	return say(c, error <= 1 ? PASS : FAIL, "(%dx%d)(%dx%d) f32: error %.2g of what rounding explains",
		   ROWS, INNER, INNER, COLUMNS, error);
}

static enum verdict matmul(struct check *c)
{
	const struct tdi_identify *id = tenon_identify(c->context);
	struct tenon_buffer *buffer;
	enum verdict verdict;

	if (!(id->features & TDI_F_TENSOR) || !(id->tensor_ops >> TDI_TENSOR_MATMUL & 1) ||
	    !(id->dtypes >> TDI_F32 & 1))
		return say(c, SKIP, "the device doesn't offer MatMul of f32");
	if (tenon_buffer_create(c->context, (ROWS * INNER + INNER * COLUMNS + ROWS * COLUMNS) * sizeof(float),
				TDI_BUFFER_READ | TDI_BUFFER_WRITE, &buffer))
		return say(c, FAIL, "%s", tenon_errstr(c->context));
	verdict = multiply(c, buffer);
	tenon_buffer_destroy(buffer);
	return verdict;
}

/* ------------------------------------------------------------------------------------ all */

static const struct {
	const char *name;
	enum verdict (*run)(struct check *c);
} checks[] = {
	{ "round_trip", round_trip },
	{ "copy", copy },
	{ "matmul", matmul },
};

static bool run_all(const struct ctl *ctl, struct tenon_context *context, struct json_object *results)
{
	static const char *const words[] = { "pass", "FAIL", "skip" };
	uint32_t depth = tenon_limits(context)->depth;
	struct check c = { .ctl = ctl, .context = context };
	enum verdict verdict;
	bool pass = true;
	size_t i;

	/* Only one command at a time is under way, so the smallest queue will do. */
	if (tenon_queue_create(context, depth < 2 ? depth : 2, NULL, &c.queue)) {
		fprintf(stderr, "tenonctl: can't make a queue: %s\n", tenon_errstr(context));
		return false;
	}
	for (i = 0; i < sizeof(checks) / sizeof(checks[0]) && !c.lost; i++) {
		c.name = checks[i].name;
		c.started = ctl_now();
		if (results) {
			c.json = json_object_new_object();
			json_object_object_add(c.json, "name", json_object_new_string(c.name));
		}
		verdict = checks[i].run(&c);
		pass &= verdict != FAIL;
		if (results) {
			json_object_object_add(c.json, "result",
					       json_object_new_string(verdict == PASS ? "pass" :
								      verdict == SKIP ? "skip" : "fail"));
			json_object_object_add(c.json, "text", json_object_new_string(c.text));
			json_object_array_add(results, c.json);
		} else {
			printf("%s  %-11s %s  %s\n", ctl->terminal ? "\r" : "", c.name, words[verdict],
			       c.text);
			fflush(stdout);
		}
	}
	return pass;
}

int ctl_validate(const struct ctl *ctl, char *const *args)
{
	struct json_object *top, *results = NULL;
	struct tenon_context *context;
	const struct tdi_identify *id;
	char *path, model[65];
	bool pass;

	if (ctl_open(ctl, args[0], &context, &path))
		return EXIT_FAILED;
	id = tenon_identify(context);
	ctl_string(model, sizeof(model), id->model, sizeof(id->model));
	if (ctl->json)
		results = json_object_new_array();
	else
		printf("%s: %s\n", path, model);
	pass = run_all(ctl, context, results);
	if (ctl->json) {
		top = json_object_new_object();
		json_object_object_add(top, "path", json_object_new_string(path));
		json_object_object_add(top, "model", json_object_new_string(model));
		json_object_object_add(top, "checks", results);
		json_object_object_add(top, "pass", json_object_new_boolean(pass));
		ctl_json_print(top);
	} else {
		puts(pass ? "pass" : "FAIL");
	}
	tenon_close(context);
	free(path);
	return pass ? EXIT_OK : EXIT_FAILED;
}
