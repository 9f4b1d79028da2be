# SPDX-License-Identifier: MIT
"""One virtual machine: QEMU, and tenond as the device that is plugged into it."""
import json
import os
import re
import select
import socket
import subprocess
import tempfile
import time

OUT = '/out'
# About ten times what they take on an idle machine without KVM; a kernel's "slow" times that.
BOOT_S, TEST_S = 60, 60

QEMU = ['qemu-system-x86_64', '-nodefaults', '-display', 'none', '-no-reboot', '-accel', 'tcg,thread=multi',
        '-cpu', 'max', '-smp', '2', '-machine', 'q35,memory-backend=ram',
        '-device', 'intel-iommu,caching-mode=on,intremap=on',
        '-device', 'pcie-root-port,id=port0,chassis=1,slot=1,pref64-reserve=256M',
        '-blockdev', 'null-co,node-name=null',
        '-device', 'virtio-blk-pci,class=0x1200,disable-legacy=on,drive=null', '-device', 'bochs-display,romfile=']


class Failure(Exception):
    pass


class VM:
    """One QEMU: its second serial line is our stdin and stdout, the first goes to a file, QMP to a socket."""

    def __init__(self, kernel, log, *options):
        self.kernel, self.log, self.said, self.qmp_said = kernel, log, b'', b''
        self.tenond, self.served, self.events = None, 0, []
        self.folder = tempfile.TemporaryDirectory()
        self.path = f'{self.folder.name}/tenond'
        self.socket, theirs = socket.socketpair()
        with theirs, open(f'{log}.qemu', 'wb') as errors:
            self.process = subprocess.Popen(
                [*QEMU, '-m', kernel.memory,
                 '-object', f'memory-backend-memfd,id=ram,size={kernel.memory},share=on',
                 '-serial', f'file:{log}', '-serial', 'stdio', '-chardev', f'socket,id=qmp,fd={theirs.fileno()}',
                 '-object', 'monitor-qmp,id=monitor,chardev=qmp', '-kernel', kernel.image,
                 '-initrd', f'{kernel.vm}/initrd', '-append', kernel.append, *options],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, pass_fds=[theirs.fileno()])
        self.time(BOOT_S)
        self.qmp_line()
        self.qmp('qmp_capabilities')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [self.process, self.tenond]:
            if process:
                process.kill()
                process.wait()
        self.socket.close()
        self.process.stdin.close()
        self.process.stdout.close()
        self.folder.cleanup()

    def time(self, seconds):
        """From now on there is this much time."""
        self.deadline = time.monotonic() + self.kernel.slow * seconds

    def read(self, fd, what):
        left = self.deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise Failure(f'no {what} in time')
        data = os.read(fd, 65536)
        if not data:
            raise Failure(f'QEMU ended before {what}')
        return data

    def qmp_line(self):
        while b'\n' not in self.qmp_said:
            self.qmp_said += self.read(self.socket.fileno(), 'answer from QEMU')
        line, _, self.qmp_said = self.qmp_said.partition(b'\n')
        return json.loads(line)

    def qmp(self, command, **arguments):
        self.socket.sendall(json.dumps({'execute': command, 'arguments': arguments}).encode())
        while True:
            answer = self.qmp_line()
            if 'error' in answer:
                raise Failure(f'{command}: {answer["error"]["desc"]}')
            if 'return' in answer:
                return answer['return']
            self.events.append(answer)

    def migrated(self):
        """Waits for the end of saving or restoring."""
        while True:
            status = self.qmp('query-migrate').get('status')
            if status == 'completed':
                return
            if status == 'failed' or time.monotonic() > self.deadline:
                raise Failure(f'saving or restoring: {status}')
            time.sleep(0.01)

    def mapped_ram(self):
        self.qmp('migrate-set-capabilities', capabilities=[{'capability': 'mapped-ram', 'state': True}])

    def save(self, state):
        self.mapped_ram()
        self.qmp('migrate-set-parameters', **{'max-bandwidth': 1 << 40})
        self.qmp('migrate', uri=f'file:{state}')
        self.migrated()

    def restore(self, state):
        self.mapped_ram()
        self.qmp('migrate-incoming', uri=f'file:{state}')
        self.migrated()
        self.qmp('cont')

    def plug(self, device):
        """A device of QEMU, or tenond's behind vfio-user, which is started if none runs."""
        self.device, (name, *options) = device, device.split()
        if name != 'tenond':
            self.qmp('device_add', driver=device, bus='port0')
            return
        if not self.tenond:
            with open(f'{self.log}.tenond', 'ab') as log:
                self.tenond = subprocess.Popen(
                    [f'{OUT}/tenond', '--attach', f'vfio-user:{self.path}', '--faults', f'{self.path}.faults',
                     '--faults-trace', f'{self.log}.trace', *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not os.path.exists(self.path):
            if self.tenond.poll() is not None or time.monotonic() > self.deadline:
                raise Failure('tenond does not listen')
            time.sleep(0.01)
        self.qmp('device_add', driver='vfio-user-pci', bus='port0', rombar=0, id='tenond',
                 socket={'type': 'unix', 'path': self.path})

    def fault(self, words):
        """What a test asks of QEMU or of tenond: lines for it, the last of which begins with ok or error."""
        try:
            if words == 'plug':
                self.plug(self.device)
                return 'ok'
            if words == 'unplug':
                self.events.clear()
                self.qmp('device_del', id='tenond')
                while not any(event['event'] == 'DEVICE_DELETED' and event['data'].get('device') == 'tenond'
                              for event in self.events):
                    self.events.append(self.qmp_line())
                return 'ok'
        except Failure as failure:
            return f'error {failure}'
        answer = b''
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(f'{self.path}.faults')
            control.sendall(f'{words}\n'.encode())
            while not re.search(rb'^(ok|error).*\n', answer, re.M):
                data = control.recv(65536)
                if not data:
                    break
                answer += data
        if words == 'crash':
            self.tenond.wait(10)
            self.tenond = None
            os.remove(self.path)
            return 'ok'
        return answer.decode().rstrip('\n')

    def until(self, pattern):
        """Collects what the guest says until a line matches, and does what its lines "FAULT WORDS" ask for."""
        while not re.search(pattern, self.said, re.M):
            self.said += self.read(self.process.stdout.fileno(), f'"{pattern.decode()}" from the guest')
            asked = re.findall(rb'^FAULT (.*?)\r?\n', self.said, re.M)
            for words in asked[self.served:]:
                self.tell(self.fault(words.decode()))
            self.served = len(asked)
        return re.search(pattern, self.said, re.M)

    def tell(self, line):
        self.process.stdin.write(f'{line}\n'.encode())
        self.process.stdin.flush()

    def end(self):
        """Waits for the guest to power off, then ends tenond; both must end well."""
        try:
            if self.process.wait(max(1, self.deadline - time.monotonic())):
                raise Failure('QEMU failed')
        except subprocess.TimeoutExpired:
            raise Failure('the guest did not power off in time') from None
        if self.tenond:
            self.tenond.terminate()
            if self.tenond.wait(10):
                raise Failure('tenond failed')
