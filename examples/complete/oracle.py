#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The oracle of tenon-complete: scores text files with numpy alone.

It reads the same weights as tenon-complete and shares no code with it, with libtenon or with any engine.
Where it says int8, each step is the tensor command of the same name in Documentation/tdi, so that the final
int32 logits are the same to the bit on every device; f32 is computed in binary64, closer to the truth than any
device.

usage: oracle.py MODELDIR FILE...	prints what model/expected.json holds for these files
"""
import hashlib
import json
import os
import sys
import zlib

import numpy as np

# Newline, the printable characters of ASCII, and one more symbol for every other byte.
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
SYMBOLS = len(ALPHABET) + 1
WINDOW = 16
# Of a device's f32 softmax: what is less likely than the smallest normal number counts as this many bits.
MOST_BITS = 126.0

DTYPES = {"F32": np.dtype("<f4"), "I8": np.dtype("i1"), "I32": np.dtype("<i4")}


def read_weights(path):
    """A safetensors file as {name: array}."""
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, tensor in header.items():
        begin, end = (start + offset for offset in tensor["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return tensors


def symbols_of(text):
    """The bytes of a text as symbols."""
    table = np.full(256, SYMBOLS - 1, np.int64)
    table[np.frombuffer(ALPHABET.encode(), np.uint8)] = np.arange(SYMBOLS - 1)
    return table[np.frombuffer(text, np.uint8)]


def windows_of(symbols):
    """For each position the symbols before it; before the text there are newlines (symbol 0)."""
    padded = np.concatenate([np.zeros(WINDOW, np.int64), symbols])
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:len(symbols)]


def logits_f32(model, windows):
    x = model["embedding"].astype(np.float64)[windows].reshape(len(windows), -1)
    for layer in ("hidden1", "hidden2"):
        x = np.maximum(x @ model[layer + ".weight"] + model[layer + ".bias"], 0)
    return x @ model["output.weight"] + model["output.bias"]


def matmul_integer(a, a_zero, b):
    """int8 x int8 -> int32. Binary64 holds each product and sum here exactly, and BLAS makes it fast."""
    return ((a.astype(np.float64) - a_zero) @ b.astype(np.float64)).astype(np.int32)


def dequantize(x, scale):
    return x.astype(np.float32) * np.float32(scale)


def quantize(x, scale, zero):
    # rint rounds half to even; the division is of binary32
    return np.clip(np.rint(x / np.float32(scale)) + np.float32(zero), -128, 127).astype(np.int8)


def logits_int8(model, windows):
    """The int32 logits; times output.scale they are real numbers."""
    x = model["embedding"][windows].reshape(len(windows), -1)
    zero = 0
    for layer in ("hidden1", "hidden2"):
        acc = matmul_integer(x, zero, model[layer + ".weight"]) + model[layer + ".bias"]
        acc = np.maximum(acc, np.int32(0))
        zero = int(model[layer + ".y_zero"])
        x = quantize(dequantize(acc, model[layer + ".scale"]), model[layer + ".y_scale"], zero)
    return matmul_integer(x, zero, model["output.weight"]) + model["output.bias"]


def bits_of(logits, targets):
    """-log2 of the probability of each target, in binary64."""
    logits = logits - logits.max(axis=1, keepdims=True)
    chosen = logits[np.arange(len(targets)), targets]
    return (np.log(np.exp(logits).sum(axis=1)) - chosen) / np.log(2)


def score(models, text, batch=1024):
    """What expected.json says of a text. @models: {"f32": tensors, "int8": tensors}"""
    symbols = symbols_of(text)
    windows = windows_of(symbols)
    scale = np.float64(models["int8"]["output.scale"])
    f32 = int8 = 0.0
    crc = 0
    for at in range(0, len(symbols), batch):
        rows, targets = windows[at:at + batch], symbols[at:at + batch]
        f32 += np.minimum(bits_of(logits_f32(models["f32"], rows), targets), MOST_BITS).sum()
        logits = logits_int8(models["int8"], rows)
        crc = zlib.crc32(logits.astype("<i4").tobytes(), crc)
        int8 += bits_of(logits * scale, targets).sum()
    return {
        "sha256": hashlib.sha256(text).hexdigest(),
        "crc32": "%08x" % zlib.crc32(text),
        "characters": len(symbols),
        "f32": {"bits_per_character": f32 / len(symbols)},
        "int8": {"bits_per_character": int8 / len(symbols), "logits_crc32": "%08x" % crc},
    }


def score_files(directory, paths):
    models = {kind: read_weights(os.path.join(directory, kind + ".safetensors")) for kind in ("f32", "int8")}
    texts = []
    for path in paths:
        with open(path, "rb") as file:
            texts.append({"name": os.path.basename(path), **score(models, file.read())})
    return {"texts": texts}


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print(json.dumps(score_files(sys.argv[1], sys.argv[2:]), indent=1))
