/* SPDX-License-Identifier: MIT */
/* tenonctl info: what a device tells of itself, and what it allows a context. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define COLUMN	20
#define WIDTH	80

static void line(const char *name, const char *value)
{
	printf("  %-*s%s\n", COLUMN - 2, name, *value ? value : "-");
}

static void number(const char *name, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	line(name, text);
}

/* The names of the bits that are set, in lines of 80 columns; a bit without a name by its number. */
static void bits(const char *name, const __le64 *set, unsigned int count,
		 const char *(*name_of)(unsigned int))
{
	int column = printf("  %-*s", COLUMN - 2, name);
	bool first = true;
	unsigned int bit;
	char text[16];

	for (bit = 0; bit < count; bit++) {
		const char *word = name_of(bit);

		if (!(set[bit / 64] >> bit % 64 & 1))
			continue;
		if (!word) {
			snprintf(text, sizeof(text), "%u", bit);
			word = text;
		}
		if (column + 1 + (int)strlen(word) > WIDTH - 1)
			column = printf("\n%*s", COLUMN, "") - 1, first = true;
		column += printf("%s%s", first ? "" : " ", word);
		first = false;
	}
	puts(first && column <= COLUMN ? "-" : "");
}

static struct json_object *bits_json(const __le64 *set, unsigned int count,
				     const char *(*name_of)(unsigned int))
{
	struct json_object *array = json_object_new_array();
	unsigned int bit;
	char text[16];

	for (bit = 0; bit < count; bit++) {
		const char *word = name_of(bit);

		if (!(set[bit / 64] >> bit % 64 & 1))
			continue;
		if (!word) {
			snprintf(text, sizeof(text), "%u", bit);
			word = text;
		}
		json_object_array_add(array, json_object_new_string(word));
	}
	return array;
}

static void print(const char *path, const struct tdi_identify *id, const struct tenon_limits *limits)
{
	char text[80], link[CTL_LINK_MAX], health[16];

	printf("%s\n", path);
	line("transport", ctl_transport(path));
	if (*ctl_link(link, sizeof(link), path))
		line("link", link);
	if (*ctl_health(health, sizeof(health), path))
		line("health", strcmp(health, "failed") ? health :
							  "failed: a reset of the PCI function may help");
	line("model", ctl_string(text, sizeof(text), id->model, sizeof(id->model)));
	line("serial", ctl_string(text, sizeof(text), id->serial, sizeof(id->serial)));
	line("firmware", ctl_string(text, sizeof(text), id->firmware, sizeof(id->firmware)));
	snprintf(text, sizeof(text), "%u.%u", id->version >> 16, id->version & 0xffff);
	line("TDI", text);
	snprintf(text, sizeof(text), "%04x:%04x", id->vendor, id->device);
	line("PCI id", id->vendor ? text : "none: software");
	bits("features", &id->features, 64, ctl_feature);
	bits("commands", id->opcodes, 256, ctl_opcode);
	bits("tensor operators", &id->tensor_ops, 64, ctl_tensor_op);
	bits("tensor types", &id->dtypes, 64, ctl_dtype);
	number("execution units", id->units);
	line("device memory", id->memory_bytes ? ctl_size(text, sizeof(text), id->memory_bytes) :
						 "none: works on the host's");
	line("yields within", ctl_time(text, sizeof(text), id->granularity_ns));
	line("quantum", ctl_time(text, sizeof(text), id->quantum_ns));
	line("longest wait", ctl_time(text, sizeof(text), id->max_wait_ns));
	printf("limits of one context\n");
	line("memory", ctl_size(text, sizeof(text), limits->memory_bytes));
	line("one buffer", ctl_size(text, sizeof(text), id->max_buffer_bytes < limits->memory_bytes ?
							 id->max_buffer_bytes : limits->memory_bytes));
	number("buffers", limits->buffers);
	number("queues", limits->queues);
	number("depth of a queue", limits->depth);
}

static void put_string(struct json_object *o, const char *name, const __u8 *value, size_t bytes)
{
	char text[80];

	json_object_object_add(o, name, json_object_new_string(ctl_string(text, sizeof(text), value, bytes)));
}

static void put(struct json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

static void print_json(const char *path, const struct tdi_identify *id, const struct tenon_limits *limits)
{
	struct json_object *o = json_object_new_object(), *l = json_object_new_object();
	char text[32], link[CTL_LINK_MAX], health[16];

	json_object_object_add(o, "path", json_object_new_string(path));
	json_object_object_add(o, "transport", json_object_new_string(ctl_transport(path)));
	json_object_object_add(o, "link", json_object_new_string(ctl_link(link, sizeof(link), path)));
	json_object_object_add(o, "health", json_object_new_string(ctl_health(health, sizeof(health), path)));
	put_string(o, "model", id->model, sizeof(id->model));
	put_string(o, "serial", id->serial, sizeof(id->serial));
	put_string(o, "firmware", id->firmware, sizeof(id->firmware));
	snprintf(text, sizeof(text), "%u.%u", id->version >> 16, id->version & 0xffff);
	json_object_object_add(o, "tdi_version", json_object_new_string(text));
	put(o, "vendor", id->vendor);
	put(o, "device", id->device);
	json_object_object_add(o, "features", bits_json(&id->features, 64, ctl_feature));
	json_object_object_add(o, "commands", bits_json(id->opcodes, 256, ctl_opcode));
	json_object_object_add(o, "tensor_ops", bits_json(&id->tensor_ops, 64, ctl_tensor_op));
	json_object_object_add(o, "dtypes", bits_json(&id->dtypes, 64, ctl_dtype));
	put(o, "units", id->units);
	put(o, "memory_bytes", id->memory_bytes);
	put(o, "granularity_ns", id->granularity_ns);
	put(o, "quantum_ns", id->quantum_ns);
	put(o, "max_wait_ns", id->max_wait_ns);
	put(o, "max_buffer_bytes", id->max_buffer_bytes);
	put(l, "memory_bytes", limits->memory_bytes);
	put(l, "buffers", limits->buffers);
	put(l, "queues", limits->queues);
	put(l, "depth", limits->depth);
	json_object_object_add(o, "limits", l);
	ctl_json_print(o);
}

int ctl_info(const struct ctl *ctl, char *const *args)
{
	struct tenon_context *context;
	char *path;

	if (ctl_open(ctl, args[0], &context, &path))
		return EXIT_FAILED;
	if (ctl->json)
		print_json(path, tenon_identify(context), tenon_limits(context));
	else
		print(path, tenon_identify(context), tenon_limits(context));
	tenon_close(context);
	free(path);
	return EXIT_OK;
}
