// SPDX-License-Identifier: MIT
/* Loads a model: its tensors go to one buffer of the device, unchanged and where the file has them. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "complete.h"

const char *why(const struct tenon_context *context, int error)
{
	const char *words = tenon_errstr(context);

	return *words ? words : strerror(-error);
}

char *read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	char *data = NULL;
	size_t size = 0, got;

	if (!file)
		err(EXIT_TROUBLE, "can't open %s", path);
	do {
		data = realloc(data, size + 65536 + 1);
		if (!data)
			errx(EXIT_TROUBLE, "no memory for %s", path);
		got = fread(data + size, 1, 65536, file);
		size += got;
	} while (got);
	if (ferror(file))
		err(EXIT_TROUBLE, "can't read %s", path);
	fclose(file);
	data[size] = '\0';
	*bytes = size;
	return data;
}

static const struct {
	const char *name;
	enum tdi_dtype dtype;
	uint32_t bytes;
} dtypes[] = {
	{ "F32", TDI_F32, 4 },
	{ "I32", TDI_I32, 4 },
	{ "I8", TDI_I8, 1 },
};

static bool member(struct json_object *object, const char *name, json_type type, struct json_object **value)
{
	return json_object_object_get_ex(object, name, value) && json_object_is_type(*value, type);
}

struct tdi_tensor model_tensor(const struct model *model, const char *layer, const char *part,
			       enum tdi_dtype dtype, unsigned int rank)
{
	struct json_object *tensor, *type, *dims, *range;
	uint32_t shape[TDI_RANK_MAX];
	uint64_t begin, end, bytes;
	unsigned int i, k = 0;
	char name[40];

	snprintf(name, sizeof(name), part ? "%s.%s" : "%s", layer, part);
	while (dtypes[k].dtype != dtype)
		k++;
	if (!json_object_object_get_ex(model->header, name, &tensor) ||
	    !member(tensor, "dtype", json_type_string, &type) ||
	    !member(tensor, "shape", json_type_array, &dims) ||
	    !member(tensor, "data_offsets", json_type_array, &range) || json_object_array_length(range) != 2)
		errx(EXIT_TROUBLE, "the model has no tensor %s: was it made by train.py?", name);
	if (strcmp(json_object_get_string(type), dtypes[k].name) || json_object_array_length(dims) != rank)
		errx(EXIT_TROUBLE, "the model's tensor %s is not %s of rank %u: name the %s model", name,
		     dtypes[k].name, rank, model->int8 ? "int8" : "f32");
	bytes = dtypes[k].bytes;
	for (i = 0; i < rank; i++) {
		int64_t extent = json_object_get_int64(json_object_array_get_idx(dims, i));

		if (extent < 1 || extent > 65536 || bytes > UINT32_MAX)
			errx(EXIT_TROUBLE, "the model's tensor %s has a shape out of bounds", name);
		shape[i] = (uint32_t)extent;
		bytes *= shape[i];
	}
	begin = json_object_get_uint64(json_object_array_get_idx(range, 0));
	end = json_object_get_uint64(json_object_array_get_idx(range, 1));
	if (end > tenon_buffer_bytes(model->data) || begin > end || end - begin != bytes ||
	    begin % dtypes[k].bytes)
		errx(EXIT_TROUBLE, "the model's tensor %s lies outside the file: the file is damaged", name);
	return tenon_tensor(model->data, begin, dtype, rank, shape);
}

const void *model_scalar(const struct model *model, const char *layer, const char *part,
			 enum tdi_dtype dtype)
{
	return (char *)tenon_buffer_data(model->data) + model_tensor(model, layer, part, dtype, 0).offset;
}

/* safetensors: a u64, so many bytes of JSON, then the data that its offsets refer to */
void model_load(struct model *model, struct tenon_context *context, const char *path, bool int8)
{
	struct json_tokener *parser = json_tokener_new();
	struct json_object *metadata, *alphabet;
	struct tdi_tensor embedding, hidden1;
	char *file;
	uint64_t header = 0;
	size_t bytes;
	uint32_t i;
	int r;

	memset(model, 0, sizeof(*model));
	model->context = context;
	model->int8 = int8;
	file = read_file(path, &bytes);
	if (bytes > sizeof(header))
		memcpy(&header, file, sizeof(header));
	if (header < 2 || header > INT32_MAX || header >= bytes - sizeof(header))
		errx(EXIT_TROUBLE, "%s is not a safetensors file", path);
	model->header = json_tokener_parse_ex(parser, file + sizeof(header), (int)header);
	json_tokener_free(parser);
	if (!json_object_object_get_ex(model->header, "__metadata__", &metadata) ||
	    !json_object_object_get_ex(metadata, "alphabet", &alphabet))
		errx(EXIT_TROUBLE, "%s has no alphabet: was it made by train.py?", path);

	bytes -= sizeof(header) + header;
	r = tenon_buffer_create(context, bytes, TDI_BUFFER_READ, &model->data);
	if (r)
		errx(EXIT_TROUBLE, "no buffer for the weights: %s", why(context, r));
	memcpy(tenon_buffer_data(model->data), file + sizeof(header) + header, bytes);
	free(file);

	embedding = model_tensor(model, "embedding", NULL, int8 ? TDI_I8 : TDI_F32, 2);
	hidden1 = model_tensor(model, "hidden1", "weight", int8 ? TDI_I8 : TDI_F32, 2);
	model->symbols = embedding.shape[0];
	model->window = hidden1.shape[0] / embedding.shape[1];
	model->alphabet = json_object_get_string(alphabet);
	if (strlen(model->alphabet) != model->symbols - 1 || model->symbols > 256 || !model->window)
		errx(EXIT_TROUBLE, "%s: alphabet and tensors don't go together", path);
	memset(model->symbol, (int)model->symbols - 1, sizeof(model->symbol));
	for (i = 0; i < model->symbols - 1; i++)
		model->symbol[(unsigned char)model->alphabet[i]] = (uint8_t)i;
}
