// SPDX-License-Identifier: MIT
/*
 * Scoring: how many bits the model needs for each character of a text, from what the device computed.
 *
 * f32: -log2 of the probabilities that the device's Softmax gave. int8: the final int32 logits are exact, so
 * their CRC-32 is compared; the probability is taken from them here, in binary64. This is measuring, not
 * inference: nothing of it goes back into the network.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "complete.h"

#define ROWS		64	/* positions of the text in one submission */
#define MOST_BITS	126.0	/* what is less likely than the smallest normal f32 counts as this many */

double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* As of zlib: start with 0. */
static uint32_t crc32_of(uint32_t crc, const void *data, size_t bytes)
{
	const unsigned char *p = data;
	int bit;

	for (crc = ~crc; bytes; bytes--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static double bits_of_probability(float probability)
{
	return fmin(-log2(probability), MOST_BITS);
}

static double bits_of_logits(const int32_t *logits, uint32_t count, uint32_t target, double scale)
{
	int32_t most = logits[0];
	double sum = 0;
	uint32_t i;

	for (i = 1; i < count; i++)
		most = logits[i] > most ? logits[i] : most;
	for (i = 0; i < count; i++)
		sum += exp(((double)logits[i] - most) * scale);
	return (log(sum) - ((double)logits[target] - most) * scale) / log(2);
}

void score_text(const struct model *model, struct tenon_queue *queue, const char *text, size_t bytes,
		struct score *score)
{
	double start = seconds_now();
	double scale = model->int8 ? *(const float *)model_scalar(model, "output", "scale", TDI_F32) : 0;
	uint32_t symbols = model->symbols, crc = 0, row;
	struct net net;
	size_t at;

	memset(score, 0, sizeof(*score));
	net_build(&net, model, queue, ROWS, 1);
	for (at = 0; at < bytes; at += ROWS) {
		uint32_t rows = bytes - at < ROWS ? (uint32_t)(bytes - at) : ROWS;

		for (row = 0; row < rows; row++)
			net_window(&net, row, text, at + row);
		net_run(&net);
		for (row = 0; row < rows; row++) {
			uint32_t target = model->symbol[(unsigned char)text[at + row]];

			if (model->int8)
				score->bits += bits_of_logits(net.logits + row * symbols, symbols, target,
							      scale);
			else
				score->bits += bits_of_probability(net.probability[row * symbols + target]);
		}
		if (model->int8)
			crc = crc32_of(crc, net.logits, rows * symbols * sizeof(*net.logits));
	}
	score->bits /= (double)bytes;
	snprintf(score->text_crc32, sizeof(score->text_crc32), "%08x", crc32_of(0, text, bytes));
	snprintf(score->logits_crc32, sizeof(score->logits_crc32), "%08x", crc);
	score->seconds = seconds_now() - start;
}
