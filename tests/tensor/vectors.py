#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cases for the tensor command set: operands as bytes in buffers, and what [TEN] says the output must be.

usage: vectors.py OUTPUT

The arithmetic is numpy's, in binary64 or int64 unless [TEN] prescribes binary32 to the bit; nothing is
shared with the engine. vectors.h describes the file. The seed is fixed: every run writes the same file.
"""

import struct
import sys

import numpy as np

F32, I8, I32, I64 = 1, 3, 6, 7
NUMPY = {F32: np.float32, I8: np.int8, I32: np.int32, I64: np.int64}
NAMES = ("", "matmul", "gemm", "add", "relu", "softmax", "gather", "argmax", "matmul_integer",
         "qlinear_matmul", "quantize", "dequantize")
(MATMUL, GEMM, ADD, RELU, SOFTMAX, GATHER, ARGMAX, MATMUL_INTEGER, QLINEAR_MATMUL, QUANTIZE,
 DEQUANTIZE) = range(1, 12)
TRANS_A, TRANS_B, LAST = 1, 2, 1
OK, INDEX_RANGE = 0, 0x33

# How far an f32 result may be from the binary64 one, relative to the sum of the magnitudes that went into
# it: what [TEN-9] and [TEN-19] allow, but for long sums no more than this. In absolute terms never 0, so that
# a sum may be +0 or -0; results that are prescribed to the bit have no bound.
TOLERANCE = 1e-4
LEAST = 1e-40

rng = np.random.default_rng(20250131)
cases = []


def chance(p):
    return rng.random() < p


def pick(*choices):
    return choices[rng.integers(len(choices))]


def dim(high=9):
    """An extent: small, often 1, sometimes odd and larger."""
    return int(pick(1, 2, 3, rng.integers(1, high + 1), rng.integers(1, high + 1), rng.integers(1, 3 * high)))


def shape_of(rank, high=5):
    return tuple(dim(high) for _ in range(rank))


def f32_bits(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def sum_bound(magnitude, count):
    """[TEN-9], with three roundings more for alpha, beta and their sum."""
    return magnitude * min(TOLERANCE, (count + 5) * 2.0**-23) + LEAST


def wrap32(x):
    return (x.astype(np.int64) + 2**31) % 2**32 - 2**31


class Operand:
    """A tensor somewhere in memory that is otherwise noise. `value` is what the operator sees."""

    def __init__(self, dtype, shape, value=None, plain=False, repeat=False):
        self.dtype, self.shape = dtype, tuple(int(n) for n in shape)
        self.size = np.dtype(NUMPY[dtype]).itemsize
        self.stride = self.dense() if plain else self.strides(repeat)
        self.hull = self.size + sum((n - 1) * s for n, s in zip(self.shape, self.stride))
        self.memory = rng.integers(0, 256, self.hull, dtype=np.uint8)
        view = np.ndarray(self.shape, NUMPY[dtype], self.memory.data, 0, self.stride)
        if value is not None:
            view[...] = value
        elif dtype == F32:
            view[...] = rng.normal(size=self.shape)
        # Where strides repeat elements, what was written last counts.
        self.value = np.array(view)

    def dense(self):
        stride, step = [], self.size
        for n in reversed(self.shape):
            stride.insert(0, step)
            step *= n
        return tuple(stride)

    def strides(self, repeat):
        """Any order of the axes, gaps, and elements apart; with `repeat` some axes repeat one element."""
        order = list(reversed(range(len(self.shape))))
        if chance(0.4):
            rng.shuffle(order)
        stride, step = [0] * len(self.shape), self.size * int(pick(1, 1, 1, 2, 3))
        for axis in order:
            if self.shape[axis] == 1:
                stride[axis] = self.size * int(rng.integers(0, 1000))
                continue
            if repeat and chance(0.25):
                continue
            stride[axis] = step
            step = step * self.shape[axis] + self.size * int(pick(0, 0, 1, 5))
        return tuple(stride)


def case(op, operands, expected, bound=None, flags=0, axis=0, alpha=0, beta=0, a_zero=0,
         b_zero=0, y_zero=0, scale=0, status=OK, info=0, y_dtype=None, plain=False, in_place=None):
    """Lay operands and output out in buffers, and keep the case."""
    expected = np.asarray(expected)
    if in_place is not None:
        y = operands[in_place]
    else:
        y = Operand(y_dtype or operands[0].dtype, expected.shape, plain=plain,
                    value=np.zeros(expected.shape))
    assert y.shape == expected.shape, (NAMES[op], y.shape, expected.shape)

    buffers, placed = [], {}
    shared = chance(0.3)
    for o in operands + [y]:
        if id(o) in placed:
            continue
        if not buffers or not shared:
            buffers.append(bytearray())
        image = buffers[-1]
        # Before it some bytes that the command must leave alone, as few as the alignment allows, or none.
        image += bytes(rng.integers(0, 256, int(pick(0, 0, 1, 37, 4095)), dtype=np.uint8))
        image += bytes(-len(image) % o.size)
        placed[id(o)] = (len(buffers), len(image))
        image += o.memory.tobytes()
    for image in buffers:
        image += bytes(rng.integers(0, 256, int(pick(0, 0, 1, 100)), dtype=np.uint8))

    blob = struct.pack("<HHBBHiIIiiiI28x", op, flags, len(operands), 1, 0, axis, f32_bits(alpha),
                       f32_bits(beta), a_zero, b_zero, y_zero, f32_bits(scale))
    for o in operands + [y]:
        buffer, offset = placed[id(o)]
        pad = 8 - len(o.shape)
        blob += struct.pack("<IBBHQ8I8Q16x", buffer, o.dtype, len(o.shape), 0, offset,
                            *o.shape, *[0] * pad, *o.stride, *[0] * pad)
    real = y.dtype == F32
    values = np.ascontiguousarray(expected.reshape(-1), dtype=np.float64 if real else np.int64)
    bound = np.zeros(values.shape) if bound is None else np.ascontiguousarray(bound.reshape(-1))
    assert bound.shape == values.shape
    name = "%s-%d" % (NAMES[op], len(cases))
    head = struct.pack("<32sIIIIQ", name.encode(), op, status, info, len(buffers), values.size)
    body = head + blob
    for image in buffers:
        body += struct.pack("<Q", len(image)) + bytes(image) + bytes(-len(image) % 8)
    cases.append(body + values.tobytes() + bound.tobytes())


# ---------------------------------------------------------------------------------- matrix products

def matmul_f32(m, k, n, batch=(), plain=False, whole=False, special=False):
    """[TEN-15]; `whole`: every partial sum is exact in binary32, so that nothing is tolerated."""
    def values(shape):
        value = rng.integers(-8, 9, shape) if whole else rng.normal(size=shape)
        if special:
            value.reshape(-1)[rng.integers(value.size)] = pick(np.nan, np.inf, -np.inf)
        return value
    a = Operand(F32, batch + (m, k), values(batch + (m, k)), plain, repeat=not plain)
    b = Operand(F32, batch + (k, n), values(batch + (k, n)), plain, repeat=not plain)
    x, y = a.value.astype(np.float64), b.value.astype(np.float64)
    with np.errstate(invalid="ignore"):
        expected, magnitude = np.matmul(x, y), np.matmul(abs(x), abs(y))
    bound = np.full(expected.shape, LEAST) if whole else sum_bound(magnitude, k)
    case(MATMUL, [a, b], expected, bound, plain=plain)


def gemm(m, k, n, flags=None, c_shape=None, alpha=None, beta=None, plain=False):
    """[TEN-16]"""
    flags = int(rng.integers(0, 4)) if flags is None else flags
    a = Operand(F32, (k, m) if flags & TRANS_A else (m, k), plain=plain, repeat=not plain)
    b = Operand(F32, (n, k) if flags & TRANS_B else (k, n), plain=plain, repeat=not plain)
    alpha = np.float32(pick(1, rng.normal(), 0.5) if alpha is None else alpha)
    x, y = a.value.astype(np.float64), b.value.astype(np.float64)
    x = x.T if flags & TRANS_A else x
    y = y.T if flags & TRANS_B else y
    expected, magnitude = float(alpha) * (x @ y), abs(float(alpha)) * (abs(x) @ abs(y))
    operands = [a, b]
    if c_shape is None:
        beta = np.float32(0)
    else:
        beta = np.float32(pick(1, rng.normal(), 0) if beta is None else beta)
        c = Operand(F32, c_shape, plain=plain, repeat=not plain)
        operands.append(c)
        addend = np.broadcast_to(c.value.astype(np.float64), (m, n))
        expected, magnitude = expected + float(beta) * addend, magnitude + abs(float(beta) * addend)
    case(GEMM, operands, expected, sum_bound(magnitude, k), flags=flags, alpha=alpha, beta=beta, plain=plain)


def product_i8(m, k, n, batch=(), a_zero=None, b_zero=None, extreme=False, plain=False):
    """Factors and their exact product modulo 2^32 [TEN-10]."""
    a_zero = int(pick(0, -128, 127, rng.integers(-128, 128))) if a_zero is None else a_zero
    b_zero = int(pick(0, -128, 127, rng.integers(-128, 128))) if b_zero is None else b_zero
    high = -127 if extreme else 128
    a = Operand(I8, batch + (m, k), rng.integers(-128, high, batch + (m, k)), plain, repeat=not plain)
    b = Operand(I8, batch + (k, n), rng.integers(-128, high, batch + (k, n)), plain, repeat=not plain)
    acc = np.matmul(a.value.astype(np.int64) - a_zero, b.value.astype(np.int64) - b_zero)
    return a, b, a_zero, b_zero, wrap32(acc)


def matmul_integer(*args, **kwargs):
    """[TEN-23]"""
    a, b, a_zero, b_zero, acc = product_i8(*args, **kwargs)
    case(MATMUL_INTEGER, [a, b], acc, a_zero=a_zero, b_zero=b_zero, y_dtype=I32)


def saturate(scaled, zero):
    """[TEN-11]: rint, half to even, plus the zero point, within i8; a NaN becomes the zero point."""
    scaled = np.where(np.isnan(scaled), np.float32(0), scaled)
    return np.clip(np.rint(scaled).astype(np.float64) + zero, -128, 127).astype(np.int64)


def qlinear(*args, scale=None, y_zero=None, **kwargs):
    """[TEN-24]"""
    a, b, a_zero, b_zero, acc = product_i8(*args, **kwargs)
    y_zero = int(pick(0, -128, 127, rng.integers(-128, 128))) if y_zero is None else y_zero
    scale = np.float32(pick(0.5, 0.25, 2**-6, 10.0 ** rng.uniform(-5, 0)) if scale is None else scale)
    with np.errstate(over="ignore"):
        scaled = acc.astype(np.int32).astype(np.float32) * scale
    case(QLINEAR_MATMUL, [a, b], saturate(scaled, y_zero), a_zero=a_zero, b_zero=b_zero, y_zero=y_zero,
         scale=scale)


def matrix_products():
    sizes = [(1, 1, 1), (1, 5, 3), (3, 1, 7), (7, 4, 1), (2, 3, 9), (17, 33, 65), (16, 16, 128), (33, 7, 129),
             (1, 300, 1100), (1, 7, 4099), (5, 64, 9), (2, 130, 1025), (257, 5, 3), (600, 3, 8), (40, 40, 40)]
    for size in sizes:
        for plain in (True, False, False):
            matmul_f32(*size, plain=plain)
            matmul_integer(*size, plain=plain)
            qlinear(*size, plain=plain)
    for _ in range(30):
        size = (dim(20), dim(20), dim(20))
        batch = shape_of(int(rng.integers(0, 4)), 3)
        matmul_f32(*size, batch=batch, whole=chance(0.5))
        matmul_integer(*size, batch=batch)
        qlinear(*size, batch=batch)
    matmul_f32(2, 3, 4, batch=(1, 2, 1, 3, 2, 1))
    for _ in range(6):
        matmul_f32(4, 5, 6, special=True)
    # One sum alone is more than a unit of work; all partial sums are exact.
    matmul_f32(1, 150001, 1, plain=True, whole=True)
    matmul_f32(3, 70001, 2, whole=True)
    matmul_f32(2, 9001, 9, plain=True, whole=True)
    matmul_integer(1, 150001, 1, plain=True)
    # Sums beyond 2^32: they wrap.
    matmul_integer(2, 70001, 2, a_zero=127, b_zero=127, extreme=True)
    qlinear(1, 70001, 3, a_zero=127, b_zero=127, extreme=True, scale=1e-7)
    # Ties at every step, up and down.
    for y_zero in (0, -3, 5):
        qlinear(40, 3, 40, a_zero=0, b_zero=0, scale=0.5, y_zero=y_zero)
        qlinear(40, 2, 40, a_zero=0, b_zero=0, scale=2**-9, y_zero=y_zero)
    # A product that overflows binary32 saturates.
    qlinear(3, 4, 5, scale=3e38)
    for m, k, n in [(1, 1, 1), (4, 5, 6), (9, 2, 31), (19, 40, 70), (64, 64, 64), (1, 700, 90), (90, 700, 1)]:
        for flags in range(4):
            c = pick(None, (), (n,), (1,), (m, n), (1, n), (m, 1), (1, 1))
            gemm(m, k, n, flags, c, plain=chance(0.4))
    for c in (None, (), (1,), (11,), (5, 11), (1, 11), (5, 1), (1, 1)):
        gemm(5, 8, 11, c_shape=c)
        gemm(5, 8, 11, c_shape=c, alpha=0, beta=None if c is None else 2)
    gemm(2, 40000, 3, 3, (3,), plain=True)


# -------------------------------------------------------------------------------------- elementwise

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38]


def sprinkle(value):
    """Some values that break what only works for ordinary numbers."""
    value = np.array(value, np.float32)
    flat = value.reshape(-1)
    for _ in range(max(1, flat.size // 8)):
        flat[rng.integers(flat.size)] = pick(*SPECIAL)
    return value


def integers(dtype, shape):
    info = np.iinfo(NUMPY[dtype])
    return rng.integers(info.min, info.max, shape, endpoint=True)


def values_of(dtype, shape):
    if dtype != F32:
        return integers(dtype, shape)
    value = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)
    return sprinkle(value) if chance(0.4) else value


def add(dtype, a_shape, b_shape, plain=False, in_place=None):
    """[TEN-17]"""
    a = Operand(dtype, a_shape, values_of(dtype, a_shape), plain, repeat=in_place != 0)
    b = Operand(dtype, b_shape, values_of(dtype, b_shape), plain, repeat=in_place != 1)
    if dtype == I32:
        expected = wrap32(a.value.astype(np.int64) + b.value.astype(np.int64))
    else:
        # The binary64 sum of two binary32 numbers, rounded once more, is their binary32 sum.
        with np.errstate(over="ignore", invalid="ignore"):
            expected = (a.value.astype(np.float64) + b.value.astype(np.float64)).astype(np.float32)
    case(ADD, [a, b], expected, in_place=in_place)


def drop(shape):
    """A shape that broadcasts to `shape`."""
    kept = tuple(1 if chance(0.35) else n for n in shape)
    return kept[int(rng.integers(0, len(kept) + 1)):] if kept and chance(0.5) else kept


def relu(dtype, shape, zero=0, in_place=None):
    """[TEN-18]"""
    x = Operand(dtype, shape, values_of(dtype, shape), repeat=in_place is None)
    if dtype == F32:
        with np.errstate(invalid="ignore"):
            expected = np.where(x.value < 0, np.float32(0), x.value)
    else:
        expected = np.maximum(x.value.astype(np.int64), zero)
    case(RELU, [x], expected, a_zero=zero, in_place=in_place)


def quantize(shape, scale, zero, value=None):
    """[TEN-25]"""
    x = Operand(F32, shape, values_of(F32, shape) if value is None else value, repeat=value is None)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = x.value / np.float32(scale)
    case(QUANTIZE, [x], saturate(scaled, zero), scale=scale, y_zero=zero, y_dtype=I8)


def dequantize(dtype, shape, scale, zero):
    """[TEN-26]"""
    x = Operand(dtype, shape, values_of(dtype, shape), repeat=True)
    centred = wrap32(x.value.astype(np.int64) - zero).astype(np.int32)
    with np.errstate(over="ignore"):
        expected = centred.astype(np.float32) * np.float32(scale)
    case(DEQUANTIZE, [x], expected, scale=scale, a_zero=zero, y_dtype=F32)


def elementwise():
    for dtype in (F32, I32):
        for shape in [(), (1,), (5000,), (40, 41), (3, 1, 5), (2, 3, 2, 3, 2, 1, 2, 3), (1025, 3)]:
            add(dtype, shape, shape, plain=True)
            add(dtype, shape, shape)
            add(dtype, shape, shape, in_place=pick(0, 1))
        for _ in range(40):
            shape = shape_of(int(rng.integers(0, 6)))
            a, b = drop(shape), drop(shape)
            add(dtype, a, b) if chance(0.5) else add(dtype, shape, b, in_place=pick(None, 0))
            add(dtype, b, shape, in_place=pick(None, 1))
    for dtype in (F32, I32, I8):
        for shape in [(), (1,), (5000,), (40, 41), (1025, 3)] + [shape_of(int(rng.integers(1, 9)), 2)
                                                                for _ in range(12)]:
            relu(dtype, shape, in_place=pick(None, 0))
    for zero in (-128, -1, 0, 1, 127):
        relu(I8, (300,), zero)
        relu(I8, (7, 9), zero, in_place=0)
    # Half steps exactly, of both signs and both parities, with ends.
    halves = (np.arange(-300, 301) * 0.5).astype(np.float32)
    for zero in (0, -128, 127, -7):
        for scale in (1.0, 0.25, 2.0**-20):
            quantize(halves.shape, scale, zero, halves * np.float32(scale))
        quantize((len(SPECIAL),), 0.1, zero, np.array(SPECIAL, np.float32))
        quantize((len(SPECIAL),), 1e-45, zero, np.array(SPECIAL, np.float32))
    for _ in range(25):
        shape = shape_of(int(rng.integers(0, 5)))
        quantize(shape, 10.0 ** rng.uniform(-3, 2), int(rng.integers(-128, 128)))
        dequantize(I8, shape, 10.0 ** rng.uniform(-3, 2), int(rng.integers(-128, 128)))
        dequantize(I32, shape, 10.0 ** rng.uniform(-12, 2), int(integers(I32, ())))
    dequantize(I32, (3000,), 3e38, -2**31)
    quantize((3000,), 0.02, 3)


# ----------------------------------------------------------------------------------- along an axis

def softmax(shape, axis, spread=1.0, value=None):
    """[TEN-19]"""
    x = Operand(F32, shape, rng.normal(size=shape) * spread if value is None else value, repeat=value is None)
    v = x.value.astype(np.float64)
    with np.errstate(invalid="ignore", under="ignore"):
        e = np.exp(v - v.max(axis=axis, keepdims=True))
        expected = e / e.sum(axis=axis, keepdims=True)
    bound = expected * min(TOLERANCE, (shape[axis] + 128) * 2.0**-23) + 2.0**-126
    case(SOFTMAX, [x], expected, bound, axis=axis)


def argmax(dtype, y_dtype, shape, axis, last, ties=False, value=None):
    """[TEN-14, TEN-22]"""
    if value is None:
        value = rng.integers(-2, 3, shape) if ties else values_of(dtype, shape)
    x = Operand(dtype, shape, value, repeat=True)
    rows = np.moveaxis(x.value, axis, -1)
    out = np.zeros(rows.shape[:-1], np.int64)
    for where in np.ndindex(*out.shape):
        row = rows[where].astype(np.float64)
        top = np.isnan(row) if np.isnan(row).any() else row == row.max()
        out[where] = np.flatnonzero(top)[-1 if last else 0]
    case(ARGMAX, [x], np.expand_dims(out, axis), axis=axis, flags=LAST if last else 0, y_dtype=y_dtype)


def gather(dtype, i_dtype, shape, i_shape, axis, bad=None):
    """[TEN-14, TEN-20]; with `bad` as one of the indices [TEN-21]"""
    n = shape[axis]
    data = Operand(dtype, shape, values_of(dtype, shape), repeat=True)
    value = rng.integers(-n, n, i_shape)
    index = Operand(i_dtype, i_shape, value, repeat=bad is None)
    status, info = OK, 0
    if bad is not None:
        flat = np.array(index.value).reshape(-1)
        info = int(rng.integers(flat.size))
        flat[info] = bad
        index = Operand(i_dtype, i_shape, flat.reshape(i_shape))
        status = INDEX_RANGE
    chosen = np.clip(np.where(index.value < 0, index.value + n, index.value), 0, n - 1).astype(np.int64)
    before, after = data.value.shape[:axis % len(shape)], data.value.shape[axis % len(shape) + 1:]
    out = np.empty(before + chosen.shape + after, data.value.dtype)
    for where in np.ndindex(*chosen.shape):
        out[(slice(None),) * len(before) + where] = np.take(data.value, chosen[where], axis)
    case(GATHER, [data, index], out, axis=axis, status=status, info=info)


def along_an_axis():
    for shape in [(1,), (7,), (1024,), (1025,), (5000,), (33, 96), (96, 33), (3, 1, 5), (1, 1, 1),
                  (2, 1030, 3)]:
        for axis in sorted({0, len(shape) - 1, -1, -len(shape)}):
            softmax(shape, axis, pick(1.0, 10.0))
            for dtype in (F32, I8, I32):
                argmax(dtype, pick(I32, I64), shape, axis, chance(0.5))
                argmax(dtype, pick(I32, I64), shape, axis, chance(0.5), ties=True)
    for _ in range(30):
        rank = int(rng.integers(1, 6))
        shape, axis = shape_of(rank), int(rng.integers(-rank, rank))
        softmax(shape, axis, pick(0.1, 3.0, 40.0))
        argmax(pick(F32, I8, I32), pick(I32, I64), shape, axis, chance(0.5), ties=chance(0.5))
    # Longer than a unit of work.
    softmax((2, 30011), 1, 3.0)
    softmax((30011, 2), 0, 3.0)
    argmax(F32, I64, (60001,), 0, False, ties=True)
    argmax(F32, I32, (60001,), 0, True, ties=True)
    argmax(I8, I64, (2, 100003), -1, True)
    for row in ([np.nan, 1, 2], [1, np.nan, np.nan, 3], [np.inf, np.nan], [-np.inf, -np.inf],
                [np.inf, np.inf, 1], [0.0, -0.0], [-1.0, -0.0, 0.0], [np.nan], [-np.inf], [3e38, -3e38]):
        value = np.array(row, np.float32)
        softmax(value.shape, 0, value=value)
        for last in (False, True):
            argmax(F32, I64, value.shape, 0, last, value=value)
    softmax((3,), 0, value=np.array([1000, 999, 0], np.float32))
    softmax((2, 3), 1, value=np.array([[1, np.nan, 2], [4, 5, 6]], np.float32))
    for dtype in (F32, I8, I32):
        for i_dtype in (I32, I64):
            gather(dtype, i_dtype, (50, 24), (16,), 0)
            gather(dtype, i_dtype, (9, 1500), (3, 2), 0)
            gather(dtype, i_dtype, (24, 50), (5, 7), 1)
            gather(dtype, i_dtype, (4, 6, 5), (2, 3), -2)
            gather(dtype, i_dtype, (9,), (), 0)
            gather(dtype, i_dtype, (1,), (1, 1), -1)
            gather(dtype, i_dtype, (9,), (4000,), 0)
            for bad in (9, -10, 2**31 - 1, -2**31):
                gather(dtype, i_dtype, (9, 3), (4, 5), 0, bad)
                gather(dtype, i_dtype, (3, 9), (4, 5), -1, bad)
    for bad in (2**32, 2**32 + 1, -2**63, 2**63 - 1, -2**32):
        gather(I8, I64, (9, 3), (6,), 0, bad)
    for _ in range(30):
        rank = int(rng.integers(1, 5))
        i_rank = int(rng.integers(0, 4))
        gather(pick(F32, I8, I32), pick(I32, I64), shape_of(rank), shape_of(i_rank),
               int(rng.integers(-rank, rank)))


def main():
    matrix_products()
    elementwise()
    along_an_axis()
    with open(sys.argv[1], "wb") as f:
        f.write(struct.pack("<8sQ", b"TNVEC\0\0\1", len(cases)))
        for body in cases:
            f.write(body)


main()
