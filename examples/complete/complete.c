// SPDX-License-Identifier: MIT
/*
 * tenon-complete: continues a prompt, and scores texts, with a small language model on a Tenon device.
 *
 * All of the network is tensor commands; the host hands in symbols and takes out a choice or probabilities.
 */
#include <err.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "complete.h"

struct options {
	const char *device;
	const char *model;
	const char *prompt;
	const char *score;
	const char *expect;
	size_t length;
	double temperature;
	long seed;
	bool int8;
	bool json;
};

static void usage(void)
{
	printf("usage: tenon-complete [options] --prompt TEXT | --score FILE\n"
	       "Continues a text, or scores one, with a character language model on a Tenon device.\n\n"
	       "  -p, --prompt TEXT      continue TEXT\n"
	       "  -n, --length N         by so many characters (200)\n"
	       "  -t, --temperature T    sample; below 0.01 takes the likeliest character (0)\n"
	       "  -s, --seed N           of the samples (1)\n"
	       "  -S, --score FILE       bits per character of FILE; each byte is a character\n"
	       "  -e, --expect FILE      with --score: compare with FILE as oracle.py writes it\n"
	       "  -8, --int8             the int8 model instead of the f32 one\n"
	       "  -d, --device PATH      socket of tenond ($TENON_DEVICE, else the first in /run/tenon)\n"
	       "  -m, --model PATH       directory of the models, or one model\n"
	       "                         (" MODEL_DIR ")\n"
	       "  -j, --json             one JSON object on standard output\n"
	       "  -h, --help\n"
	       "  -V, --version\n\n"
	       "Exit status: 0; 1 the score is not the expected one; 2 anything else.\n");
}

static double number(const char *option, const char *text, double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= least && value <= most))
		errx(EXIT_TROUBLE, "--%s takes a number from %g to %g, not \"%s\"", option, least, most,
		     text);
	return value;
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "prompt", required_argument, NULL, 'p' },
		{ "length", required_argument, NULL, 'n' },
		{ "temperature", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "score", required_argument, NULL, 'S' },
		{ "expect", required_argument, NULL, 'e' },
		{ "int8", no_argument, NULL, '8' },
		{ "device", required_argument, NULL, 'd' },
		{ "model", required_argument, NULL, 'm' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "p:n:t:s:S:e:8d:m:jhV", longs, NULL)) != -1) {
		switch (c) {
		case 'p':
			o->prompt = optarg;
			break;
		case 'n':
			o->length = (size_t)number("length", optarg, 1, 1e6);
			break;
		case 't':
			o->temperature = number("temperature", optarg, 0, 100);
			break;
		case 's':
			o->seed = (long)number("seed", optarg, 0, INT32_MAX);
			break;
		case 'S':
			o->score = optarg;
			break;
		case 'e':
			o->expect = optarg;
			break;
		case '8':
			o->int8 = true;
			break;
		case 'd':
			o->device = optarg;
			break;
		case 'm':
			o->model = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			usage();
			exit(0);
		case 'V':
			printf("tenon-complete " VERSION "\n");
			exit(0);
		default:
			errx(EXIT_TROUBLE, "try --help");
		}
	}
	if (optind < argc)
		errx(EXIT_TROUBLE, "\"%s\" belongs to no option; try --help", argv[optind]);
	if (!o->prompt && !o->score)
		errx(EXIT_TROUBLE, "nothing to do: give --prompt TEXT or --score FILE");
	if (o->expect && !o->score)
		errx(EXIT_TROUBLE, "--expect needs --score FILE");
}

/* The file of the model: PATH, or the one for the precision in directory PATH. */
static char *model_path(const struct options *o)
{
	struct stat st;
	char *path;

	if (stat(o->model, &st) != 0)
		err(EXIT_TROUBLE, "no model at %s; name its directory with --model (in the sources it is "
		    "examples/complete/model)", o->model);
	if (asprintf(&path, S_ISDIR(st.st_mode) ? "%s/%s.safetensors" : "%s", o->model,
		     o->int8 ? "int8" : "f32") < 0)
		errx(EXIT_TROUBLE, "out of memory");
	return path;
}

/* Draw a symbol from the probabilities of the device, whose sum may be a little off 1. */
static uint32_t draw(const float *probability, uint32_t symbols)
{
	double left = drand48();
	uint32_t i, likely = 0;

	for (i = 0; i < symbols; i++) {
		left -= probability[i];
		if (left < 0)
			return i;
		if (probability[i] > probability[likely])
			likely = i;
	}
	return likely;
}

static void add_number(struct json_object *object, const char *name, double value)
{
	json_object_object_add(object, name, json_object_new_double(value));
}

static void add_string(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

static struct json_object *complete(const struct options *o, const struct model *model,
				    struct tenon_queue *queue)
{
	struct json_object *result = json_object_new_object();
	size_t begin = strlen(o->prompt), end = begin + o->length, at;
	char *text = calloc(end + 1, 1);
	struct net net;
	double start;

	if (!text)
		errx(EXIT_TROUBLE, "out of memory");
	memcpy(text, o->prompt, begin);
	net_build(&net, model, queue, 1, o->temperature);
	srand48(o->seed);
	if (!o->json)
		printf("%s", text);
	start = seconds_now();
	for (at = begin; at < end; at++) {
		uint64_t next;

		net_window(&net, 0, text, at);
		net_run(&net);
		next = net.choice ? (uint64_t)*net.choice : draw(net.probability, model->symbols);
		if (next >= model->symbols)
			errx(EXIT_TROUBLE, "the device chose a symbol that there isn't");
		/* The last symbol is any byte outside the alphabet; to the model that is mostly this one. */
		text[at] = next + 1 < model->symbols ? model->alphabet[next] : '\t';
		if (!o->json) {
			putchar(text[at]);
			fflush(stdout);
		}
	}
	if (!o->json)
		printf("\n");
	else
		add_string(result, "text", text);
	json_object_object_add(result, "characters", json_object_new_uint64(o->length));
	add_number(result, "characters_per_second", (double)o->length / (seconds_now() - start));
	free(text);
	return result;
}

static struct json_object *member(struct json_object *object, const char *name, const char *path)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value) || !value)
		errx(EXIT_TROUBLE, "%s has no \"%s\": was it written by oracle.py?", path, name);
	return value;
}

/* What oracle.py wrote of the text that has been scored. */
static struct json_object *expectation(const struct options *o, struct json_object *root,
				       const struct score *score)
{
	struct json_object *texts = member(root, "texts", o->expect);
	size_t i;

	for (i = 0; i < json_object_array_length(texts); i++) {
		struct json_object *text = json_object_array_get_idx(texts, i);

		if (!strcmp(json_object_get_string(member(text, "crc32", o->expect)), score->text_crc32))
			return member(text, o->int8 ? "int8" : "f32", o->expect);
	}
	errx(EXIT_TROUBLE, "%s says nothing of %s as it is here; oracle.py can tell what to expect",
	     o->expect, o->score);
}

/* *@status becomes EXIT_DISAGREES if the score is not the expected one. */
static struct json_object *score(const struct options *o, const struct model *model,
				 struct tenon_queue *queue, int *status)
{
	struct json_object *result = json_object_new_object(), *root, *expected;
	char *text;
	struct score score;
	bool agrees;
	size_t bytes;
	double bits;

	text = read_file(o->score, &bytes);
	if (!bytes)
		errx(EXIT_TROUBLE, "%s is empty: there is nothing to score", o->score);
	score_text(model, queue, text, bytes, &score);
	free(text);
	add_string(result, "file", o->score);
	json_object_object_add(result, "characters", json_object_new_uint64(bytes));
	add_number(result, "characters_per_second", (double)bytes / score.seconds);
	add_number(result, "bits_per_character", score.bits);
	if (o->int8)
		add_string(result, "logits_crc32", score.logits_crc32);
	if (!o->expect)
		return result;

	text = read_file(o->expect, &bytes);
	root = json_tokener_parse(text);
	free(text);
	expected = expectation(o, root, &score);
	bits = json_object_get_double(member(expected, "bits_per_character", o->expect));
	add_number(result, "expected_bits_per_character", bits);
	agrees = fabs(bits - score.bits) <= 1e-4;
	if (o->int8) {
		const char *crc = json_object_get_string(member(expected, "logits_crc32", o->expect));

		add_string(result, "expected_logits_crc32", crc);
		agrees = agrees && !strcmp(crc, score.logits_crc32);
	}
	json_object_put(root);
	json_object_object_add(result, "agrees", json_object_new_boolean(agrees));
	*status = agrees ? 0 : EXIT_DISAGREES;
	return result;
}

static double value(struct json_object *object, const char *name)
{
	return json_object_get_double(json_object_object_get(object, name));
}

static const char *text_of(struct json_object *object, const char *name)
{
	return json_object_get_string(json_object_object_get(object, name));
}

static void print_rate(struct json_object *object)
{
	printf("%.0f characters, %.0f a second\n", value(object, "characters"),
	       value(object, "characters_per_second"));
}

static void print_score(const struct options *o, struct json_object *object)
{
	bool expected = json_object_object_get_ex(object, "agrees", NULL);

	printf("%s: ", o->score);
	print_rate(object);
	printf("  bits per character   %.6f on the device", value(object, "bits_per_character"));
	if (expected)
		printf(", %.6f expected", value(object, "expected_bits_per_character"));
	if (o->int8)
		printf("\n  CRC-32 of the logits %s on the device", text_of(object, "logits_crc32"));
	if (o->int8 && expected)
		printf(", %s expected", text_of(object, "expected_logits_crc32"));
	if (expected)
		printf("\n  %s", json_object_get_boolean(json_object_object_get(object, "agrees")) ?
		       "agrees with the oracle" : "DOES NOT AGREE with the oracle");
	printf("\n");
}

int main(int argc, char **argv)
{
	struct options o = { .model = MODEL_DIR, .length = 200, .seed = 1 };
	struct json_object *result = json_object_new_object();
	struct tenon_context *context;
	struct tenon_queue *queue;
	struct model model;
	int r, status = 0;
	char *path;

	parse(argc, argv, &o);
	path = model_path(&o);
	r = tenon_open(o.device, NULL, &context);
	if (r)
		errx(EXIT_TROUBLE, "can't open %s: %s; start tenond, or name its socket with --device",
		     o.device ? o.device : "a device", why(NULL, r));
	r = tenon_queue_create(context, NET_OPS, NULL, &queue);
	if (r)
		errx(EXIT_TROUBLE, "no queue: %s", why(context, r));
	model_load(&model, context, path, o.int8);
	add_string(result, "device", (const char *)tenon_identify(context)->model);
	add_string(result, "model", path);
	if (o.prompt) {
		json_object_object_add(result, "completion", complete(&o, &model, queue));
		if (!o.json)
			print_rate(json_object_object_get(result, "completion"));
	}
	if (o.score) {
		json_object_object_add(result, "score", score(&o, &model, queue, &status));
		if (!o.json)
			print_score(&o, json_object_object_get(result, "score"));
	}
	if (o.json)
		printf("%s\n", json_object_to_json_string_ext(result, JSON_C_TO_STRING_PRETTY |
							       JSON_C_TO_STRING_NOSLASHESCAPE));
	if (fflush(stdout) || ferror(stdout))
		err(EXIT_TROUBLE, "can't write the result");
	json_object_put(result);
	json_object_put(model.header);
	free(path);
	tenon_close(context);
	return status;
}
