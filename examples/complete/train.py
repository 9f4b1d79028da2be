#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Trains the model of tenon-complete: writes f32.safetensors, int8.safetensors and expected.json to OUTDIR.

usage: train.py OUTDIR

Needs numpy, /usr/share/common-licenses and OUTDIR/heldout.txt; takes 5 minutes on one core with the BLAS that
Debian installs beside numpy. Every random number comes from SEED, so the same numpy, BLAS and processor give
the same weights; others round differently, and give another model as good as this one.
"""
import hashlib
import json
import os
import sys
import time

import numpy as np

import oracle

LICENSES = "/usr/share/common-licenses"
# All but GFDL-1.2 and LGPL-2, near copies of their successors, and HELD_OUT.
TEXTS = ("Apache-2.0", "Artistic", "BSD", "GFDL-1.3", "GPL-1", "GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3",
         "MPL-1.1", "MPL-2.0")
HELD_OUT = "CC0-1.0"

SEED = 1
EMBEDDING, HIDDEN1, HIDDEN2 = 16, 320, 128
EPOCHS, BATCH, RATE, DROPOUT, DECAY = 10, 256, 2e-3, 0.2, 0.3


def read(path):
    with open(path, "rb") as file:
        return file.read()


def initial(random):
    def weight(rows, columns, gain):
        return (random.standard_normal((rows, columns)) * gain).astype(np.float32)

    inputs = oracle.WINDOW * EMBEDDING
    return {
        "embedding": weight(oracle.SYMBOLS, EMBEDDING, 0.5),
        "hidden1.weight": weight(inputs, HIDDEN1, np.sqrt(2 / inputs)),
        "hidden1.bias": np.zeros(HIDDEN1, np.float32),
        "hidden2.weight": weight(HIDDEN1, HIDDEN2, np.sqrt(2 / HIDDEN1)),
        "hidden2.bias": np.zeros(HIDDEN2, np.float32),
        "output.weight": weight(HIDDEN2, oracle.SYMBOLS, 0.3 * np.sqrt(2 / HIDDEN2)),
        "output.bias": np.zeros(oracle.SYMBOLS, np.float32),
    }


def dropout(random, shape):
    return (random.random(shape, np.float32) >= DROPOUT) * np.float32(1 / (1 - DROPOUT))


def gradients(model, windows, targets, random):
    """Mean cross entropy of a batch, in bits, and its gradients."""
    rows = len(targets)
    x = model["embedding"][windows].reshape(rows, -1)
    keep1, keep2 = dropout(random, (rows, HIDDEN1)), dropout(random, (rows, HIDDEN2))
    h1 = np.maximum(x @ model["hidden1.weight"] + model["hidden1.bias"], 0) * keep1
    h2 = np.maximum(h1 @ model["hidden2.weight"] + model["hidden2.bias"], 0) * keep2
    logits = h2 @ model["output.weight"] + model["output.bias"]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    bits = -np.log2(p[np.arange(rows), targets]).mean()

    out = {}
    g = p
    g[np.arange(rows), targets] -= 1
    g /= np.float32(rows)
    out["output.weight"], out["output.bias"] = h2.T @ g, g.sum(axis=0)
    g = (g @ model["output.weight"].T) * (h2 > 0) * keep2
    out["hidden2.weight"], out["hidden2.bias"] = h1.T @ g, g.sum(axis=0)
    g = (g @ model["hidden2.weight"].T) * (h1 > 0) * keep1
    out["hidden1.weight"], out["hidden1.bias"] = x.T @ g, g.sum(axis=0)
    g = (g @ model["hidden1.weight"].T).reshape(-1, EMBEDDING)
    chosen = np.zeros((oracle.SYMBOLS, len(g)), np.float32)
    chosen[windows.ravel(), np.arange(len(g))] = 1
    out["embedding"] = chosen @ g
    return bits, out


def train(windows, targets):
    """Adam with decoupled weight decay; the rate warms up, then falls along a cosine to 0."""
    random = np.random.default_rng(SEED)
    model = initial(random)
    mean = {name: np.zeros_like(value) for name, value in model.items()}
    square = {name: np.zeros_like(value) for name, value in model.items()}
    per_epoch = len(targets) // BATCH
    step, start = 0, time.monotonic()
    for epoch in range(EPOCHS):
        order = random.permutation(len(targets))
        total = 0
        for batch in order[:per_epoch * BATCH].reshape(per_epoch, BATCH):
            bits, gradient = gradients(model, windows[batch], targets[batch], random)
            total += bits
            step += 1
            rate = RATE * min(1, step / 200) * (1 + np.cos(np.pi * step / (EPOCHS * per_epoch))) / 2
            for name, value in model.items():
                mean[name] += np.float32(0.1) * (gradient[name] - mean[name])
                square[name] += np.float32(0.001) * (gradient[name] ** 2 - square[name])
                if name.endswith("weight"):
                    value *= np.float32(1 - rate * DECAY)
                value -= np.float32(rate / (1 - 0.9 ** step)) * mean[name] / (
                    np.sqrt(square[name] / np.float32(1 - 0.999 ** step)) + np.float32(1e-8))
        print(f"epoch {epoch + 1}/{EPOCHS}: {total / per_epoch:.3f} bits per character with dropout, "
              f"{time.monotonic() - start:.0f} s", flush=True)
    return model


def quantized(value):
    scale = np.float32(np.abs(value).max() / 127)
    return np.rint(value / scale).astype(np.int8), scale


def int8_of(model, windows):
    """Symmetric weights, one scale a tensor. What leaves a hidden layer isn't negative, so its zero point is
    -128; its scale covers all but one in 100,000 of the values that the training windows give."""
    out = {}
    out["embedding"], scale = quantized(model["embedding"])
    x = model["embedding"][windows].reshape(len(windows), -1)
    for layer in ("hidden1", "hidden2", "output"):
        weight, weight_scale = quantized(model[layer + ".weight"])
        scale = np.float32(scale * weight_scale)
        out[layer + ".weight"] = weight
        out[layer + ".bias"] = np.rint(model[layer + ".bias"] / scale).astype(np.int32)
        out[layer + ".scale"] = scale
        if layer != "output":
            x = np.maximum(x @ model[layer + ".weight"] + model[layer + ".bias"], 0)
            scale = np.float32(np.quantile(x, 1 - 1e-5) / 255)
            out[layer + ".y_scale"] = scale
            out[layer + ".y_zero"] = np.int32(-128)
    return out


def write_weights(path, tensors, metadata):
    """safetensors; the widest types go first, so that each tensor is aligned to its own."""
    kinds = {dtype: name for name, dtype in oracle.DTYPES.items()}
    header, data = {"__metadata__": metadata}, b""
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize):
        raw = np.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": kinds[value.dtype], "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def main(directory):
    texts = [read(os.path.join(LICENSES, name)) for name in TEXTS]
    corpus = hashlib.sha256(b"".join(texts)).hexdigest()
    symbols = [oracle.symbols_of(text) for text in texts]
    windows = np.concatenate([oracle.windows_of(text) for text in symbols])
    targets = np.concatenate(symbols)
    print(f"{len(TEXTS)} texts, {len(targets)} characters, sha256 {corpus}", flush=True)

    model = train(windows, targets)
    metadata = {"format": "tenon-complete", "license": "MIT", "alphabet": oracle.ALPHABET,
                "corpus_sha256": corpus}
    write_weights(os.path.join(directory, "f32.safetensors"), model, metadata)
    write_weights(os.path.join(directory, "int8.safetensors"), int8_of(model, windows[::16]), metadata)

    expected = oracle.score_files(directory, [os.path.join(directory, "heldout.txt"),
                                              os.path.join(LICENSES, HELD_OUT)])
    with open(os.path.join(directory, "expected.json"), "w", encoding="ascii") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")
    for text in expected["texts"]:
        print(f"{text['name']}: bits per character f32 {text['f32']['bits_per_character']:.4f}, "
              f"int8 {text['int8']['bits_per_character']:.4f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
