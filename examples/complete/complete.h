/* SPDX-License-Identifier: MIT */
/*
 * tenon-complete, a character language model on a Tenon device: what its files share.
 *
 * Whatever fails ends the program by errx(EXIT_TROUBLE): the kernel and the device clean up behind it.
 */
#ifndef COMPLETE_H
#define COMPLETE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json.h>
#include <tenon/tenon.h>

#define EXIT_DISAGREES	1	/* the score is not the expected one */
#define EXIT_TROUBLE	2	/* anything else */

/**
 * struct model - a safetensors file in a buffer that the device reads
 * @data: the tensors
 * @header: the file's JSON header
 * @alphabet: the character of each symbol but the last, which stands for all other bytes
 * @symbol: the symbol of each byte
 * @symbols: how many there are
 * @window: symbols that the network looks back
 * @int8: the int8 model, not the f32 one
 */
struct model {
	struct tenon_context *context;
	struct tenon_buffer *data;
	struct json_object *header;
	const char *alphabet;
	uint8_t symbol[256];
	uint32_t symbols;
	uint32_t window;
	bool int8;
};

void model_load(struct model *model, struct tenon_context *context, const char *path, bool int8);
/* Tensor "layer.part" of the file, or "layer"; what the file says is checked, since it may be any file. */
struct tdi_tensor model_tensor(const struct model *model, const char *layer, const char *part,
			       enum tdi_dtype dtype, unsigned int rank);
const void *model_scalar(const struct model *model, const char *layer, const char *part,
			 enum tdi_dtype dtype);
/* Read a whole file; a NUL follows its bytes. */
char *read_file(const char *path, size_t *bytes);

#define NET_OPS	16

/**
 * struct net - the network for so many windows at a time, as a chain of prepared operations
 * @name: each operation's operator, for messages
 * @op_layer: and its layer
 * @layer: the layer that is being built
 * @host: where the host sees the tensor made last
 * @ids: rows x window symbols, which the host sets
 * @logits: int8: rows x symbols
 * @probability: rows x symbols, if the network isn't greedy
 * @choice: one symbol for each row, if it is
 */
struct net {
	const struct model *model;
	struct tenon_queue *queue;
	struct tenon_op *op[NET_OPS];
	const char *name[NET_OPS];
	const char *op_layer[NET_OPS];
	unsigned int ops;
	const char *layer;
	void *host;
	uint32_t rows;
	int64_t *ids;
	const int32_t *logits;
	const float *probability;
	const int64_t *choice;
};

void net_build(struct net *net, const struct model *model, struct tenon_queue *queue, uint32_t rows,
	       double temperature);
/* Set row @row to the window before @text[@at]; before the text there are newlines. */
void net_window(struct net *net, uint32_t row, const char *text, size_t at);
void net_run(struct net *net);

/** struct score - what scoring a text gave; the CRCs are zlib's, in hexadecimal */
struct score {
	double bits;		/* per character */
	double seconds;
	char text_crc32[9];
	char logits_crc32[9];	/* int8: of all final int32 logits in order */
};

void score_text(const struct model *model, struct tenon_queue *queue, const char *text, size_t bytes,
		struct score *score);
double seconds_now(void);
/* The library's words for a failure, else those of the error. */
const char *why(const struct tenon_context *context, int error);

#endif /* COMPLETE_H */
