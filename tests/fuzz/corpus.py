#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the committed corpus: for each fuzz target a few inputs by which each opcode is reached.

    tests/fuzz/corpus.py            writes tests/fuzz/corpus/TARGET/NAME

The formats of inputs are in the targets' first comments. Numbers are those of tdi.h and socket.h.
"""
import os
import random
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
F32, I8, I32, I64 = 1, 3, 6, 7
SIZE = {F32: 4, I8: 1, I32: 4, I64: 8}
# Buffer ids: descriptors, read and write, read only, write only, another name of the second.
DESC, RW, READ, WRITE, ALIAS = (0x01000001 + i for i in range(5))
NOP, COPY, FILL, SIGNAL, WAIT, TENSOR = 0, 1, 2, 3, 4, 0x10
LINK, IDEMPOTENT = 1, 2
random.seed(1)


def write(target, name, data):
    path = os.path.join(HERE, 'corpus', target)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), 'wb') as out:
        out.write(data)


# ---------------------------------------------------------------------------------- commands

def sqe(opcode, body=b'', flags=0, user_data=0):
    return struct.pack('<BBHIQ', opcode, flags, 0, 0, user_data) + body.ljust(48, b'\0')


def copy(dst, dst_offset, src, src_offset, row_bytes, rows=1, dst_pitch=0, src_pitch=0, **head):
    return sqe(COPY, struct.pack('<IIQQQIII', dst, src, dst_offset, src_offset, row_bytes, rows, dst_pitch,
                                 src_pitch), **head)


def fill(dst, offset, count, pattern, width, **head):
    return sqe(FILL, struct.pack('<IIQQQ', dst, width, offset, count, pattern), **head)


def signal(buffer, offset, value, mode=0, **head):
    return sqe(SIGNAL, struct.pack('<IIQQ', buffer, mode, offset, value), **head)


def wait(buffer, offset, ref, timeout=1000, **head):
    return sqe(WAIT, struct.pack('<IIQQQ', buffer, 0, offset, ref, timeout), **head)


def tensor_command(tensors, offset=0, **head):
    return sqe(TENSOR, struct.pack('<IIQ', DESC, 64 + 128 * tensors, offset), **head)


def tensor(buffer, offset, dtype, shape, stride=None):
    if stride is None:
        stride, step = [], SIZE[dtype]
        for extent in reversed(shape):
            stride.insert(0, step)
            step *= extent
    pad = [0] * (8 - len(shape))
    return struct.pack('<IBBHQ8I8Q2Q', buffer, dtype, len(shape), 0, offset, *shape, *pad, *stride, *pad, 0,
                       0)


def op(number, inputs, flags=0, axis=0, alpha=0.0, beta=0.0, a_zero=0, b_zero=0, y_zero=0, scale=0.0):
    return struct.pack('<HHBBHiffiiif7I', number, flags, inputs, 1, 0, axis, alpha, beta, a_zero, b_zero,
                       y_zero,
                       scale, *[0] * 7)


def floats(count):
    values = [0.5, -1.25, 3.0, -0.0, 1e30, float('inf'), float('nan'), 2.0]
    return struct.pack(f'<{count}f', *(random.choice(values) for _ in range(count)))


def small(count):
    return bytes(random.randrange(256) for _ in range(count))


# name: descriptor, content of RW, content of READ. Outputs are in WRITE unless the name says in place.
OPERATIONS = {
    'matmul': (op(1, 2) + tensor(RW, 0, F32, [3, 5]) + tensor(READ, 0, F32, [5, 4]) +
               tensor(WRITE, 0, F32, [3, 4]),
               floats(15), floats(20)),
    'matmul-batch': (op(1, 2) + tensor(RW, 0, F32, [2, 3, 2], [0, 8, 4]) +
                     tensor(READ, 4, F32, [2, 2, 3], [24, 4, 8]) + tensor(WRITE, 0, F32, [2, 3, 3]),
                     floats(12), floats(16)),
    'matmul-large': (op(1, 2) + tensor(RW, 0, F32, [24, 300], [0, 4]) +
                     tensor(READ, 0, F32, [300, 40], [4, 0]) +
                     tensor(WRITE, 0, F32, [24, 40]), floats(300), floats(300)),
    'gemm': (op(2, 3, alpha=0.5, beta=2.0) + tensor(RW, 0, F32, [3, 4]) + tensor(READ, 0, F32, [4, 2]) +
             tensor(READ, 64, F32, [2]) + tensor(WRITE, 0, F32, [3, 2]), floats(12), floats(20)),
    'gemm-transposed': (op(2, 2, flags=3, alpha=1.0, beta=0.0) + tensor(RW, 0, F32, [4, 3]) +
                        tensor(READ, 0, F32, [2, 4]) + tensor(WRITE, 8, F32, [3, 2]), floats(12), floats(8)),
    'add': (op(3, 2) + tensor(RW, 0, F32, [4, 1, 3]) + tensor(READ, 0, F32, [5, 1]) +
            tensor(WRITE, 0, F32, [4, 5, 3]), floats(12), floats(5)),
    'add-i32': (op(3, 2) + tensor(RW, 0, I32, [6]) + tensor(READ, 0, I32, []) + tensor(WRITE, 0, I32, [6]),
                small(24), small(4)),
    'relu-in-place': (op(4, 1) + tensor(RW, 0, F32, [2, 2, 2, 2]) + tensor(RW, 0, F32, [2, 2, 2, 2]),
                      floats(16), b''),
    'relu-strided': (op(4, 1) + tensor(READ, 60, F32, [4, 3], [4, 16]) +
                     tensor(WRITE, 0, F32, [4, 3], [64, 8]),
                     b'', floats(40)),
    'relu-rank8': (op(4, 1) + tensor(READ, 0, F32, [2] * 8) + tensor(WRITE, 0, F32, [2] * 8), b'',
                   floats(256)),
    'relu-large': (op(4, 1) + tensor(READ, 0, F32, [50, 60], [0, 4]) + tensor(WRITE, 0, F32, [50, 60]),
                   b'', floats(60)),
    'softmax': (op(5, 1, axis=-1) + tensor(RW, 0, F32, [3, 7]) + tensor(WRITE, 0, F32, [3, 7]), floats(21),
                b''),
    'softmax-axis0': (op(5, 1, axis=0) + tensor(RW, 0, F32, [3, 7]) + tensor(WRITE, 0, F32, [3, 7]),
                      struct.pack('<21f', *range(21)), b''),
    'gather': (op(6, 2, axis=1) + tensor(RW, 0, F32, [3, 4]) + tensor(READ, 0, I32, [2, 2]) +
               tensor(WRITE, 0, F32, [3, 2, 2]), floats(12), struct.pack('<4i', 0, -1, 3, 2)),
    'gather-i64': (op(6, 2, axis=0) + tensor(RW, 0, I8, [3, 4]) + tensor(READ, 0, I64, [2]) +
                   tensor(WRITE, 0, I8, [2, 4]), small(12), struct.pack('<2q', 2, -3)),
    'gather-beyond': (op(6, 2, axis=0) + tensor(RW, 0, F32, [3, 4]) + tensor(READ, 0, I32, [3]) +
                      tensor(WRITE, 0, F32, [3, 4]), floats(12), struct.pack('<3i', 1, 3, 0)),
    'argmax': (op(7, 1, axis=1) + tensor(RW, 0, F32, [2, 5]) + tensor(WRITE, 0, I32, [2, 1]), floats(10),
               b''),
    'argmax-last': (op(7, 1, flags=1, axis=0) + tensor(RW, 0, F32, [6]) + tensor(WRITE, 0, I32, [1]),
                    floats(6), b''),
    'matmul-integer': (op(8, 2, a_zero=3, b_zero=-7) + tensor(RW, 0, I8, [4, 6]) +
                       tensor(READ, 0, I8, [6, 5]) +
                       tensor(WRITE, 0, I32, [4, 5]), small(24), small(30)),
    'qlinear-matmul': (op(9, 2, a_zero=-128, b_zero=127, y_zero=5, scale=0.01) + tensor(RW, 0, I8, [4, 6]) +
                       tensor(READ, 0, I8, [6, 5]) + tensor(WRITE, 0, I8, [4, 5]), small(24), small(30)),
    'quantize': (op(10, 1, y_zero=-3, scale=0.25) + tensor(RW, 0, F32, [9]) + tensor(WRITE, 1, I8, [9]),
                 floats(9), b''),
    'dequantize': (op(11, 1, a_zero=4, scale=0.125) + tensor(RW, 0, I8, [9]) + tensor(WRITE, 0, F32, [9]),
                   small(9), b''),
    'dequantize-i32': (op(11, 1, a_zero=4, scale=0.125) + tensor(RW, 0, I32, [9]) +
                       tensor(WRITE, 0, F32, [9]),
                       small(36), b''),
    'relu-i8': (op(4, 1, a_zero=-3) + tensor(READ, 0, I8, [7]) + tensor(WRITE, 0, I8, [7]),
                b'', bytes(range(250, 256)) + b'\3'),
    'argmax-i64': (op(7, 1, flags=1, axis=1) + tensor(RW, 0, F32, [2, 5]) + tensor(WRITE, 0, I64, [2, 1]),
                   struct.pack('<10f', *range(10)), b''),
    'no-operator': (op(12, 1) + tensor(RW, 0, F32, [9]) + tensor(WRITE, 0, F32, [9]), b'', b''),
    'beyond': (op(4, 1) + tensor(RW, 0, F32, [2, 2], [2**63, 4]) + tensor(WRITE, 0, F32, [2, 2]), b'', b''),
}

PLAIN = {
    'nop': [sqe(NOP)],
    'copy': [copy(WRITE, 10, READ, 4000, 5000)],
    'copy-rows': [copy(RW, 1, READ, 3, 100, 40, 128, 101)],
    'copy-columns': [copy(RW, 1, READ, 3, 1, 4000, 3, 1)],
    'copy-overlap': [copy(RW, 0, RW, 99, 100)],
    'copy-beyond': [copy(RW, 2**64 - 8, READ, 0, 16)],
    'fill': [fill(WRITE, 4, 9000, 0x1122334455667788, 4)],
    'fill-bytes': [fill(RW, 4095, 3, 0x77, 1)],
    'signal': [signal(RW, 4088, 7)],
    'signal-add': [signal(RW, 0, 2**64 - 1, 1)],
    'wait': [wait(RW, 0, 2**63)],
    'wait-there': [wait(READ, 8, 0)],
    'no-opcode': [sqe(0x55)],
    'exec': [sqe(5)],
    'no-right': [fill(READ, 0, 8, 0, 1)],
}


def shape(first, descriptor=1000, rw=9100, read=9050):
    """Lengths and offsets in the first block of the four buffers."""
    lengths = descriptor, rw, read, 12287
    return b''.join(struct.pack('<HH', max(length, 1) - 1, first) for length in lengths)


def shape_of(first, descriptor, rw, read):
    return shape(first, len(descriptor), len(rw), len(read))


def descriptors():
    for name, entries in PLAIN.items():
        write('descriptors', name, shape(8) + b'\0' + entries[0])
    for name, (descriptor, rw, read) in OPERATIONS.items():
        count = (len(descriptor) - 64) // 128
        for flags, first in ((0, 4), (0x11, 4093)):
            write('descriptors', f'{name}-{first}', shape_of(first, descriptor, rw, read) + bytes([flags]) +
                  tensor_command(count) + descriptor + rw + read)


def commands():
    for name, entries in PLAIN.items():
        write('commands', name, shape(8) + bytes([len(entries) - 1]) + b''.join(entries))
    every = [entry[0] for entry in PLAIN.values()]
    every = [e[:1] + bytes([i % 4]) + e[2:8] + struct.pack('<Q', 1000 + i) + e[16:]
             for i, e in enumerate(every)]
    write('commands', 'all', shape(0) + bytes([len(every) - 1]) + b''.join(every))
    chain = [signal(RW, 0, 1, flags=LINK), wait(ALIAS, 0, 1, flags=LINK),
             copy(RW, 64, READ, 0, 64, flags=LINK),
             sqe(0xff, flags=LINK), fill(WRITE, 0, 64, 1, 8), wait(RW, 0, 5, timeout=10**9)]
    write('commands', 'chain', shape(0) + bytes([len(chain) - 1]) + b''.join(chain))
    self_modifying = [tensor_command(2), copy(DESC, 0, DESC, 400, 200), tensor_command(2)]
    descriptor = OPERATIONS['relu-in-place'][0]
    both = descriptor.ljust(400, b'\0') + descriptor
    write('commands', 'self-modifying', shape(0, len(both), 128) + bytes([len(self_modifying) - 1]) +
          b''.join(self_modifying) + both + floats(32))
    for name in 'relu-in-place', 'softmax', 'gather', 'matmul-large', 'qlinear-matmul':
        descriptor, rw, read = OPERATIONS[name]
        count = (len(descriptor) - 64) // 128
        write('commands', name, shape_of(1, descriptor, rw, read) + b'\1' + 2 * tensor_command(count) +
              descriptor + rw + read)


# ------------------------------------------------------------------------------------- admin

def admin(opcode, body=b'', generation=0, command=7):
    data = (struct.pack('<BBHI', opcode, 0, command, generation) + body).rstrip(b'\0').ljust(8, b'\0')
    return bytes([len(data) - 8]) + data


def group(opcode, number=0, quantum=0, generation=1):
    return admin(opcode, struct.pack('<IHBBQ', number, 0, 0, 0, quantum), generation)


def context(opcode, number=3, generation=9, groups=(0, 1)):
    body = struct.pack('<III', number, *groups) if opcode == 0x18 else struct.pack('<I', number)
    return admin(opcode, body, generation)


def queue_create(number=5, depth_log2=4, first=2**32 - 64):
    return admin(0x20, struct.pack('<IIIIIHBBQQQQ', number, 3, 9, first, 0, 0, depth_log2, 0, 0x10000,
                                   0x11000,
                                   0x12000, 0x13000), 11)


def buffer_map(buffer, flags, length, first, address, shift):
    return admin(0x28, struct.pack('<IIIIQQQI', 3, 9, buffer, flags, length, first, address, shift))


def data(opcode, page, number, address=0x18000, length=1024, generation=0):
    return admin(opcode, struct.pack('<IIQI', page, number, address, length), generation)


def admin_inputs():
    made = [group(0x10), context(0x18), buffer_map(0x01000001, 7, 5000, 100, 0x14000, 63),
            buffer_map(0x01000002, 3, 9000, 5, 0x10400, 12), queue_create()]
    tail = struct.pack('<I', 2**32 - 64 + 6)
    entries = (sqe(NOP) + fill(0x01000001, 0, 5000, 3, 1) + copy(0x01000002, 0, 0x01000001, 0, 100) +
               signal(0x01000001, 4, 1) + wait(0x01000001, 4, 2, 10**9) + sqe(NOP))
    array = struct.pack('<3Q', 0x17000, 0x1a000, 0x19000)
    memory = (tail.ljust(0x400, b'\0') + array).ljust(4096, b'\0') + entries
    ends = [admin(0x21, struct.pack('<I', 5), 11), admin(0x29, struct.pack('<III', 3, 9, 0x01000001)),
            context(0x19), admin(0x12, struct.pack('<I', 0), 1)]
    cases = {
        'life': made + ends,
        'logs': made + [data(1, 0, 0), data(2, 1, 0, generation=1), data(2, 2, 5, generation=11),
                        data(2, 3, 3, generation=9), data(2, 4, 0), data(2, 5, 3, generation=9),
                        data(2, 5, 3, address=0x1fff0, generation=9)],
        'resets': made + [admin(0x05, struct.pack('<II', 5, 2**32 - 60), 11),
                          admin(0x22, struct.pack('<I', 5), 11),
                          context(0x1a), admin(0x06), data(2, 3, 3, generation=9), admin(0x07), admin(0x04)],
        'modify': made + [group(0x11, quantum=1), group(0x11, quantum=2**63), admin(0x03), admin(0x08)],
        'wrong': made + [context(0x19, generation=8), admin(0x21, struct.pack('<I', 5), 12), group(0x12),
                         buffer_map(0x02000001, 3, 1, 0, 0x14000, 12),
                         buffer_map(0x02000009, 3, 2**40, 0, 0, 63),
                         queue_create(6, 16), queue_create(5)],
        'identify': [data(1, 0, 0, length=4096), admin(0x04)],
        'quiesce': [admin(0x06), admin(0x06), admin(0x04), admin(0x07), admin(0x07)],
        'unoffered': [admin(opcode, generation=1)
                      for opcode in (0x03, 0x08, 0x09, 0x30, 0x31, 0x38, 0x39, 0xff)],
        'aliases': [group(0x10), context(0x18), buffer_map(0x01000001, 7, 0x10000, 0, 0x10000, 63),
                    queue_create()],
    }
    for name, commands_ in cases.items():
        write('admin', name, bytes([len(commands_)]) + b''.join(commands_) + memory)


# ---------------------------------------------------------------------------------- messages

def message(kind, body=b'', number=1, size=None):
    length = 16 + len(body)
    return (struct.pack('<H', length) +
            struct.pack('<IHHQ', length if size is None else size, kind, 0, number) + body)


def messages():
    hello = message(1, struct.pack('<HHI', 1, 0, 0))
    buffer = message(2, struct.pack('<QII', 10000, 3, 0))
    queue = message(4, struct.pack('<II', 16, 0))
    many = hello + buffer * 9 + queue * 5
    for name, data_ in {
            'hello': hello,
            'life': hello + buffer + queue + message(6) + message(7) +
                    message(3, struct.pack('<II', 0x01000000, 0)) +
                    message(5, struct.pack('<II', 0, 0)) + message(6),
            'many': many,
            'wrong': hello + message(6, size=17) + message(9) + message(3, struct.pack('<II', 5, 0)) +
                     message(4, struct.pack('<II', 3, 0)) + message(2, struct.pack('<QII', 2**64 - 1, 3, 0)) +
                     message(2, struct.pack('<QII', 2 << 20, 3, 0)) +
                     message(1, struct.pack('<HHI', 1, 0, 0)),
            'early': message(6) + buffer + message(1, struct.pack('<HHI', 2, 0, 0)),
            'short': hello + struct.pack('<H', 3) + b'abc',
            'long': hello + struct.pack('<H', 4097) + b'\0' * 4097,
            'descriptor': struct.pack('<H', 0x8000 | 24) + hello[2:] + struct.pack('<H', 0x8000 | 16) +
                          message(7)[2:],
    }.items():
        write('messages', name, data_)


# --------------------------------------------------------------------------------- vfio-user

RAM, ADMIN_FIRST, QUEUE_FIRST = 0x10000, 2**32 - 32, 2**32 - 16
ALL_FEATURES = 0x41  # TENSOR, EVENT_QUEUES


def step(kind, body, data_, carried=0, copies=1, length=None):
    """One step of the target; see its first comment."""
    length = len(data_) if length is None else length
    return struct.pack('<BH', kind << 6 | carried | (copies - 1) << 3, length) + body + data_


def vfu(command, data_=b'', quiet=False, **how):
    return step(0, bytes([command]), data_, length=len(data_) | (0x8000 if quiet else 0), **how)


def raw(data_, **how):
    return step(1, b'', data_, **how)


def store(at, data_):
    return step(2, struct.pack('<H', at // 8), data_)


def answer(data_=b'', refused=0):
    return step(3, b'', data_, carried=refused)


def dma_map(at=RAM, size=0x10000, offset=0, flags=3, carried=1):
    return vfu(2, struct.pack('<IIQQQ', 32, flags, offset, at, size), carried=carried)


def dma_unmap(at=RAM, size=0x10000, flags=0):
    return vfu(3, struct.pack('<IIQQ', 24, flags, at, size))


def set_irqs(start=0, count=4, index=2, flags=4 | 0x20, **how):
    return vfu(8, struct.pack('<IIIII', 20, flags, index, start, count), **how)


def region_read(region, offset, count):
    return vfu(9, struct.pack('<QII', offset, region, count))


def region_write(region, offset, value, count=4, **how):
    return vfu(10, struct.pack('<QIIQ', offset, region, count, value)[:16 + count], **how)


def admin_run(entries, first):
    """The commands in the admin queue of 8, and its doorbell."""
    out = b''
    for i, entry in enumerate(entries):
        out += store((first + i) % 8 * 64, entry)
    return out + region_write(0, 0x44, (first + len(entries)) % 2**32)


def vfio_user():
    version = vfu(1, struct.pack('<HH', 0, 0) + b'{"capabilities":{"max_msg_fds":16}}'.ljust(128, b'\0'))
    master = region_write(7, 4, 6, 2)
    mapped = version + dma_map() + set_irqs(carried=4, copies=4) + master
    enabled = (mapped + region_write(0, 0x20, ALL_FEATURES, 8) + region_write(0, 0x28, 2) +
               region_write(0, 0x2c, 3) +
               region_write(0, 0x30, RAM, 8) + region_write(0, 0x38, RAM + 0x1000, 8) +
               region_write(0, 0x40, ADMIN_FIRST) + region_write(0, 0x28, 3))

    def command(*args, **kw):
        return admin(*args, **kw)[1:].ljust(64, b'\0')

    def eq_create(number=0, at=RAM + 0x2000):
        return command(0x08, struct.pack('<IIQII', number, 5, at, 1, 0))

    def made(at=RAM + 0x7000):
        queue = struct.pack('<IIIIIHBBQQQQ', 0, 0, 1, QUEUE_FIRST, 0, 0, 2, 0, RAM + 0x3000, RAM + 0x4000,
                            RAM + 0x5000, RAM + 0x6000)
        buffer = struct.pack('<IIIIQQQI', 0, 1, 0x01000000, 7, 0x1000, 0, at, 63)
        return [command(0x10, struct.pack('<I', 0), 1), eq_create(),
                command(0x18, struct.pack('<III', 0, 0, 1), 1),
                command(0x28, buffer), command(0x20, queue, 1)]

    producer = struct.pack('<I', QUEUE_FIRST) + b'\0' * 124 + struct.pack('<II', QUEUE_FIRST + 1, QUEUE_FIRST)
    alive = command(0x04)
    identify = command(0x01, struct.pack('<IIQI', 0, 0, 0xdead0000, 512))
    def fills(objects):
        out = store(0x3000, producer) + admin_run(objects, ADMIN_FIRST)
        for i in range(4):
            out += (store(0x4000 + 64 * i, fill(0x01000000, 0, 4096, i, 8)) +
                    store(0x3000, struct.pack('<I', QUEUE_FIRST + i + 1)) +
                    region_write(2, 0, QUEUE_FIRST + i + 1))
        return out

    job = enabled + fills(made())
    end = [command(0x29, struct.pack('<III', 0, 1, 0x01000000)), command(0x21, struct.pack('<I', 0), 1),
           alive]
    infos = version + vfu(4, b'\0' * 16)
    for i in range(10):
        infos += vfu(5, struct.pack('<IIIIQQ', 32, 0, i, 0, 0, 0)) + vfu(7, struct.pack('<IIII', 16, 0, i, 0))
    for name, data_ in {
            'version': version,
            'infos': infos,
            'registers': version + b''.join(region_read(0, i, 8) + region_read(0, i, 4)
                                            for i in range(0, 0x50, 4)),
            'config': version + region_read(7, 0, 256) +
                      b''.join(region_write(7, i, 2**32 - 1) for i in range(0, 160, 4)),
            'maps': version + dma_map(carried=2) + dma_map(RAM + 0x20000, carried=3) +
                    dma_map(2**64 - 4096, 4096) +
                    dma_map(RAM + 0x10000, 0x1000, 0xf000) + dma_map() + dma_map(0, 4096, 0, 4) +
                    dma_map(0x1000, 4096, carried=0) + dma_map(0x3000, 4096, carried=5) + dma_unmap() +
                    dma_unmap(RAM, 0x1000) + dma_unmap(0, 0, 2) + region_read(0, 0, 8),
            'irqs': version + set_irqs(carried=4, copies=4) + set_irqs(0, 4, flags=0x21) +
                    set_irqs(0, 0, flags=0x21) +
                    set_irqs(30, 3) + set_irqs(0, 1, carried=5) + set_irqs(0, 4) + set_irqs(0, 32, 1) +
                    set_irqs(0, 2, carried=7),
            'depth': mapped + region_write(0, 0x2c, 0x09090909) + region_write(0, 0x28, 3) + vfu(13),
            'fatal': mapped + region_write(0, 0x28, 1) + region_read(0, 0x0c, 4) + vfu(13),
            'admin': enabled + admin_run([alive] * 7, ADMIN_FIRST) + region_write(0, 0x44, 5) + vfu(13),
            'job': job + region_write(0, 0x1000, 2**32 - 127) + admin_run(end, (ADMIN_FIRST + 5) % 2**32),
            'no-master': job + region_write(7, 4, 2, 2) + admin_run([alive], (ADMIN_FIRST + 5) % 2**32) +
                         master,
            'unmapped': job + dma_unmap() + region_write(2, 0, 0) + dma_map() + region_read(0, 0x0c, 4),
            'read-only': enabled + dma_map(0x80000, 0x4000, carried=2) + fills(made(0x80000)) + vfu(13),
            'reset': job + region_write(0, 0x48, 0x74736572) + job,
            'flr': job + region_write(7, 0x48, 0x8000, 2) + region_read(7, 4, 2) + master,
            'disabled': job + region_write(0, 0x28, 0) + region_read(0, 0x0c, 4),
            'miss': enabled + admin_run([identify], ADMIN_FIRST) + answer(refused=1) +
                    admin_run([identify], ADMIN_FIRST + 1) + answer(struct.pack('<QQI', 0xdead0000, 4, 0)),
            'quiet': version + region_write(7, 4, 6, 2, quiet=True) + vfu(13, quiet=True) +
                     region_read(7, 4, 2),
            'unknown': version + vfu(6) + vfu(11) + vfu(16, b'\0' * 16) + vfu(77),
            'not-first': region_read(0, 0, 8),
            'short': version + vfu(3, b'\0' * 23),
            'too-long': version + vfu(10, b'\0' * 8000),
            'split': raw(struct.pack('<HHIII', 9, 1, 24, 0, 0)) + raw(b'\0' * 4) + raw(b'{}\0\0') +
                     raw(struct.pack('<HHIII', 1, 2, 48, 0, 0), carried=1) +
                     raw(struct.pack('<IIQQQ', 32, 3, 0, RAM, 0x10000)),
            'stray-answer': version + raw(struct.pack('<HHIII', 0x777, 11, 16, 1, 0)),
            'many-descriptors': version + raw(struct.pack('<HHIII', 1, 13, 16, 0, 0), carried=7),
    }.items():
        write('vfio-user', name, data_)


descriptors()
commands()
admin_inputs()
messages()
vfio_user()
