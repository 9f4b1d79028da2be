#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write the committed corpus: one small input for each opcode, operator and message.

    tests/fuzz/seeds.py [DIRECTORY]
"""
import os
import struct
import sys

F32, I8, I32, I64 = 1, 3, 6, 7
SIZE = {F32: 4, I8: 1, I32: 4, I64: 8}
READ, BOTH, WRITE = (1 << 24 | index for index in (1, 2, 3))


def sqe(opcode, body=b'', flags=0):
    return struct.pack('<BBHIQ', opcode, flags, 0, 0, opcode).ljust(16, b'\0') + body.ljust(48, b'\0')


def copy(dst, src, dst_offset, src_offset, row, rows=1, dst_pitch=0, src_pitch=0):
    return sqe(1, struct.pack('<IIQQQIIII', dst, src, dst_offset, src_offset, row, rows, dst_pitch, src_pitch, 0))


def fill(dst, width, offset, size, pattern):
    return sqe(2, struct.pack('<IIQQQ', dst, width, offset, size, pattern))


def signal(buffer, mode, offset, value):
    return sqe(3, struct.pack('<IIQQ', buffer, mode, offset, value))


def wait(buffer, offset, ref, timeout):
    return sqe(4, struct.pack('<IIQQQ', buffer, 0, offset, ref, timeout))


def tensor_command(tensors, offset=0):
    return sqe(0x10, struct.pack('<IIQ', READ, 64 + 128 * tensors, offset))


def tensor(buffer, offset, dtype, *shape):
    strides, step = [], SIZE[dtype]
    for extent in reversed(shape):
        strides.insert(0, step)
        step *= extent
    return struct.pack('<IBBHQ8I8Q2Q', buffer, dtype, len(shape), 0, offset,
                       *shape, *[0] * (8 - len(shape)), *strides, *[0] * (8 - len(shape)), 0, 0)


def op(number, inputs, flags=0, axis=0, alpha=0.0, beta=0.0, zeros=(0, 0, 0), scale=0.0):
    return struct.pack('<HHBBHiffiiif', number, flags, len(inputs) - 1, 1, 0, axis, alpha, beta, *zeros,
                       scale).ljust(64, b'\0') + b''.join(inputs)


def operators():
    def io(*tensors):
        return list(tensors)
    r, w = 2048, 0
    yield 'matmul', op(1, io(tensor(READ, r, F32, 3, 5), tensor(READ, r + 64, F32, 5, 4), tensor(BOTH, w, F32, 3, 4)))
    yield 'matmul-batch', op(1, io(tensor(READ, r, F32, 2, 2, 3), tensor(READ, r, F32, 2, 3, 2),
                                   tensor(WRITE, 4090 & ~3, F32, 2, 2, 2)))
    yield 'gemm', op(2, io(tensor(READ, r, F32, 5, 3), tensor(READ, r, F32, 4, 5), tensor(READ, r, F32, 4),
                           tensor(BOTH, w, F32, 3, 4)), flags=3, alpha=1.0, beta=0.5)
    yield 'add', op(3, io(tensor(READ, r, F32, 2, 3), tensor(READ, r, F32, 3), tensor(BOTH, w, F32, 2, 3)))
    yield 'add-i32', op(3, io(tensor(READ, r, I32, 2, 1), tensor(READ, r, I32, 3), tensor(BOTH, w, I32, 2, 3)))
    yield 'relu', op(4, io(tensor(READ, r, F32, 7), tensor(BOTH, w, F32, 7)))
    yield 'relu-i8', op(4, io(tensor(READ, r, I8, 7), tensor(BOTH, w, I8, 7)), zeros=(-3, 0, 0))
    yield 'softmax', op(5, io(tensor(READ, r, F32, 2, 6), tensor(BOTH, w, F32, 2, 6)), axis=-1)
    yield 'gather', op(6, io(tensor(READ, r, F32, 4, 3), tensor(READ, r + 200, I32, 2), tensor(BOTH, w, F32, 2, 3)))
    yield 'gather-i64', op(6, io(tensor(READ, r, I8, 4, 3), tensor(READ, r + 200, I64, 2), tensor(BOTH, w, I8, 4, 2)),
                           axis=1)
    yield 'argmax', op(7, io(tensor(READ, r, F32, 2, 5), tensor(BOTH, w, I64, 2, 1)), axis=1, flags=1)
    yield 'matmul-integer', op(8, io(tensor(READ, r, I8, 3, 5), tensor(READ, r, I8, 5, 4), tensor(BOTH, w, I32, 3, 4)),
                               zeros=(1, -2, 0))
    yield 'qlinear', op(9, io(tensor(READ, r, I8, 3, 5), tensor(READ, r, I8, 5, 4), tensor(BOTH, w, I8, 3, 4)),
                        zeros=(1, -2, 3), scale=0.01)
    yield 'quantize', op(10, io(tensor(READ, r, F32, 9), tensor(BOTH, w, I8, 9)), zeros=(0, 0, 4), scale=0.25)
    yield 'dequantize', op(11, io(tensor(READ, r, I8, 9), tensor(BOTH, w, F32, 9)), zeros=(5, 0, 0), scale=0.25)


def admin(opcode, body=b'', generation=1, command=7):
    return struct.pack('<BBHI', opcode, 0, command, generation) + body.ljust(56, b'\0')


def admins():
    group = admin(0x10)
    context = admin(0x18, struct.pack('<III', 0, 0, 1))
    queue = admin(0x20, struct.pack('<IIIIIHBBQQQQ', 0, 0, 1, 0xffffffc0, 0, 0, 4, 0, 4096, 8192, 12288, 16384))
    buffer = admin(0x28, struct.pack('<IIIIQQQI', 0, 1, READ, 7, 4096, 0, 20480, 12), generation=0)
    array = admin(0x28, struct.pack('<IIIIQQQI', 0, 1, BOTH, 3, 9000, 100, 24576, 12), generation=0)
    unmap = admin(0x29, struct.pack('<III', 0, 1, READ), generation=0)
    logs = [admin(2, struct.pack('<IIQI', page, 0, 28672, 4096), generation=int(page != 4)) for page in range(1, 6)]
    made = group + context + queue + buffer + array
    yield 'identify', admin(1, struct.pack('<IIQI', 0, 0, 4096, 4096), generation=0)
    yield 'logs', made + b''.join(logs)
    yield 'end', made + unmap + admin(5, struct.pack('<II', 0, 0xffffffc0)) + admin(0x22) + admin(0x1a) + \
        admin(0x21) + admin(0x19) + admin(0x12)
    yield 'quiesce', made + admin(6, generation=0) + admin(7, generation=0) + admin(4, generation=0)
    yield 'modify', group + admin(0x11, struct.pack('<IHBBQQ', 0, 0, 0, 0, 500000, 0))
    yield 'unoffered', b''.join(admin(opcode) for opcode in (0x03, 0x08, 0x09, 0x30, 0x31, 0x38, 0x39, 0xff))


def message(kind, body=b'', flags=0):
    text = struct.pack('<IHHQ', 16 + len(body), kind, 0, kind * 1000) + body
    return struct.pack('<BB', len(text), flags) + text


def messages():
    buffer = message(2, struct.pack('<QII', 5000, 3, 0), 1)
    queue = message(4, struct.pack('<II', 64, 0), 1)
    yield 'hello', message(1, struct.pack('<HHI', 1, 0, 0))
    yield 'buffer', buffer + message(3, struct.pack('<II', 1 << 24, 0), 1)
    yield 'queue', queue + message(5, struct.pack('<II', 0, 0), 1)
    yield 'logs', buffer + queue + message(6) + message(7, flags=2)
    yield 'limits', buffer * 5 + queue * 3


def commands():
    yield 'core', bytes([7]) + sqe(0) + copy(BOTH, READ, 0, 16, 100) + copy(WRITE, READ, 4000, 0, 200) + \
        copy(BOTH, READ, 0, 0, 10, 5, 20, 10) + fill(WRITE, 8, 4088, 64, 0x1122334455667788) + \
        signal(BOTH, 0, 8, 5) + wait(BOTH, 8, 5, 1000) + bytes(256)
    yield 'wait', bytes([3]) + wait(BOTH, 8, 5, 1000) + signal(BOTH, 1, 8, 1) + sqe(0, flags=2)
    yield 'link', bytes([4]) + copy(READ, BOTH, 0, 0, 8)[:1] + b'\1' + copy(READ, BOTH, 0, 0, 8)[2:] + sqe(0, flags=1) + \
        sqe(0) + sqe(0)
    yield 'exec', bytes([2]) + sqe(5) + sqe(0xff)
    for name, descriptor in operators():
        yield name, bytes([1]) + tensor_command((len(descriptor) - 64) // 128) + descriptor


def main():
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus')
    for target, inputs in (('sqe', commands()), ('tensor', operators()), ('admin', admins()), ('socket', messages())):
        os.makedirs(os.path.join(top, target), exist_ok=True)
        for name, data in inputs:
            with open(os.path.join(top, target, name), 'wb') as file:
                file.write(data)


if __name__ == '__main__':
    main()
