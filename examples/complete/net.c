// SPDX-License-Identifier: MIT
/*
 * The network as a chain of tensor commands, prepared once and submitted for each batch of windows:
 *
 *	f32	Gather, for each hidden layer Gemm and Relu, Gemm
 *	int8	Gather, for each hidden layer MatMulInteger, Add, Relu, DequantizeLinear and QuantizeLinear,
 *		MatMulInteger, Add, DequantizeLinear
 *	both	ArgMax if greedy, else Softmax
 *
 * A temperature divides the logits: it goes into alpha and beta, or the scale, of the last layer.
 */
#include <err.h>

#include "complete.h"

/* A tensor in a buffer of its own; net->host is where the host sees it. */
static struct tdi_tensor new_tensor(struct net *net, enum tdi_dtype dtype, uint32_t columns)
{
	uint32_t shape[2] = { net->rows, columns };
	uint64_t bytes = (uint64_t)net->rows * columns * (dtype == TDI_I8 ? 1 : dtype == TDI_I64 ? 8 : 4);
	struct tenon_context *context = net->model->context;
	struct tenon_buffer *buffer;
	int r;

	r = tenon_buffer_create(context, bytes, TDI_BUFFER_READ | TDI_BUFFER_WRITE, &buffer);
	if (r)
		errx(EXIT_TROUBLE, "no buffer of %llu bytes: %s", (unsigned long long)bytes, why(context, r));
	net->host = tenon_buffer_data(buffer);
	return tenon_tensor(buffer, 0, dtype, 2, shape);
}

/* Append an operation to the chain. */
static void add_op(struct net *net, const char *name, struct tdi_op op, const struct tdi_tensor *tensors)
{
	struct tenon_context *context = net->model->context;
	int r;

	if (net->ops == NET_OPS)
		errx(EXIT_TROUBLE, "more than %d operations", NET_OPS);
	net->name[net->ops] = name;
	net->op_layer[net->ops] = net->layer;
	r = tenon_op_create(context, &op, tensors, &net->op[net->ops++]);
	if (r)
		errx(EXIT_TROUBLE, "can't prepare %s of layer %s: %s", name, net->layer, why(context, r));
}

/* Append an operation whose output is a new tensor, and return this. */
static struct tdi_tensor chain(struct net *net, const char *name, struct tdi_op op,
			       const struct tdi_tensor *inputs, enum tdi_dtype dtype, uint32_t columns)
{
	struct tdi_tensor tensors[TDI_TENSORS_MAX];

	memcpy(tensors, inputs, op.inputs * sizeof(*inputs));
	tensors[op.inputs] = new_tensor(net, dtype, columns);
	add_op(net, name, op, tensors);
	return tensors[op.inputs];
}

/* The symbols' embeddings side by side, as rows for the first layer. */
static struct tdi_tensor embed(struct net *net)
{
	enum tdi_dtype dtype = net->model->int8 ? TDI_I8 : TDI_F32;
	uint32_t window = net->model->window, width;
	struct tdi_tensor tensors[3], out;

	net->layer = "embedding";
	tensors[0] = model_tensor(net->model, net->layer, NULL, dtype, 2);
	tensors[1] = new_tensor(net, TDI_I64, window);
	net->ids = net->host;
	width = tensors[0].shape[1];
	out = new_tensor(net, dtype, window * width);
	/* Gather sees the same memory as rows x window x width. */
	tensors[2] = out;
	tensors[2].rank = 3;
	tensors[2].shape[1] = window;
	tensors[2].shape[2] = width;
	tensors[2].stride[2] = out.stride[1];
	tensors[2].stride[1] = out.stride[1] * width;
	add_op(net, "Gather", tenon_op_axis(TDI_TENSOR_GATHER, 0, 0), tensors);
	return out;
}

/* The logits of a layer, times @gain. */
static struct tdi_tensor linear_f32(struct net *net, struct tdi_tensor x, float gain)
{
	struct tdi_tensor in[3] = { x, model_tensor(net->model, net->layer, "weight", TDI_F32, 2),
				    model_tensor(net->model, net->layer, "bias", TDI_F32, 1) };

	return chain(net, "Gemm", tenon_op_gemm(3, gain, gain, 0), in, TDI_F32, in[1].shape[1]);
}

static struct tdi_tensor hidden_f32(struct net *net, const char *layer, struct tdi_tensor x)
{
	net->layer = layer;
	x = linear_f32(net, x, 1);
	return chain(net, "Relu", tenon_op_plain(TDI_TENSOR_RELU, 1), &x, TDI_F32, x.shape[1]);
}

/* @zero is the zero point of @x. */
static struct tdi_tensor linear_int8(struct net *net, struct tdi_tensor x, int32_t zero)
{
	struct tdi_tensor in[2] = { x, model_tensor(net->model, net->layer, "weight", TDI_I8, 2) };
	uint32_t columns = in[1].shape[1];

	in[0] = chain(net, "MatMulInteger", tenon_op_matmul_integer(zero, 0), in, TDI_I32, columns);
	in[1] = model_tensor(net->model, net->layer, "bias", TDI_I32, 1);
	return chain(net, "Add", tenon_op_plain(TDI_TENSOR_ADD, 2), in, TDI_I32, columns);
}

static struct tdi_tensor real(struct net *net, struct tdi_tensor x, float gain)
{
	float scale = *(const float *)model_scalar(net->model, net->layer, "scale", TDI_F32);

	return chain(net, "DequantizeLinear", tenon_op_dequantize(scale * gain, 0), &x, TDI_F32, x.shape[1]);
}

/* *@zero becomes the zero point of what is returned. */
static struct tdi_tensor hidden_int8(struct net *net, const char *layer, struct tdi_tensor x, int32_t *zero)
{
	float scale = *(const float *)model_scalar(net->model, layer, "y_scale", TDI_F32);

	net->layer = layer;
	x = linear_int8(net, x, *zero);
	x = chain(net, "Relu", tenon_op_plain(TDI_TENSOR_RELU, 1), &x, TDI_I32, x.shape[1]);
	x = real(net, x, 1);
	*zero = *(const int32_t *)model_scalar(net->model, layer, "y_zero", TDI_I32);
	return chain(net, "QuantizeLinear", tenon_op_quantize(scale, *zero), &x, TDI_I8, x.shape[1]);
}

void net_build(struct net *net, const struct model *model, struct tenon_queue *queue, uint32_t rows,
	       double temperature)
{
	bool greedy = temperature < 0.01;
	float gain = greedy ? 1 : (float)(1 / temperature);
	struct tdi_tensor x;
	int32_t zero = 0;

	memset(net, 0, sizeof(*net));
	net->model = model;
	net->queue = queue;
	net->rows = rows;
	x = embed(net);
	if (model->int8) {
		x = hidden_int8(net, "hidden1", x, &zero);
		x = hidden_int8(net, "hidden2", x, &zero);
		net->layer = "output";
		x = linear_int8(net, x, zero);
		net->logits = net->host;
		x = real(net, x, gain);
	} else {
		x = hidden_f32(net, "hidden1", x);
		x = hidden_f32(net, "hidden2", x);
		net->layer = "output";
		x = linear_f32(net, x, gain);
	}
	if (greedy) {
		chain(net, "ArgMax", tenon_op_axis(TDI_TENSOR_ARGMAX, 1, 0), &x, TDI_I64, 1);
		net->choice = net->host;
	} else {
		chain(net, "Softmax", tenon_op_axis(TDI_TENSOR_SOFTMAX, 1, 0), &x, TDI_F32, model->symbols);
		net->probability = net->host;
	}
}

void net_window(struct net *net, uint32_t row, const char *text, size_t at)
{
	uint32_t window = net->model->window, i;

	for (i = 0; i < window; i++)
		net->ids[row * window + i] =
			net->model->symbol[at + i < window ? '\n' : (unsigned char)text[at + i - window]];
}

/* Run the chain; a failure cancels what follows and is told with the operation that failed. */
void net_run(struct net *net)
{
	unsigned int i;
	int r;

	for (i = 0; i < net->ops; i++) {
		struct tdi_sqe *sqe = tenon_sqe_get(net->queue);

		tenon_prep_op(sqe, net->op[i], i);
		if (i + 1 < net->ops)
			sqe->flags |= TDI_SQE_LINK;
	}
	r = tenon_submit(net->queue);
	if (!r)
		do
			r = tenon_wait(net->queue, net->ops, -1);
		while (r == -EINTR);
	if (r)
		errx(EXIT_TROUBLE, "the device is gone: %s; start tenond again", why(net->model->context, r));
	for (i = 0; i < net->ops; i++) {
		const struct tdi_cqe *cqe = tenon_cqe_peek(net->queue);

		if (cqe->status)
			errx(EXIT_TROUBLE, "%s of layer %s failed: %s (info 0x%x)", net->name[i],
			     net->op_layer[i], tenon_status_str(cqe->status), cqe->info);
		tenon_cqe_seen(net->queue);
	}
}
