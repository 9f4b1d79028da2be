# SPDX-License-Identifier: MIT
"""For the tests of tenonctl, whose arguments are TENONCTL FAKE: a machine's sysfs and configfs, played by
fake-config.c, and TAP."""
import json
import os
import subprocess
import sys
import tempfile

tenonctl, fake = (os.path.abspath(path) for path in sys.argv[1:])
PCI = '0000:04:00.0'
OTHER = '0000:05:00.0'
results = []


def check(good, name, why=''):
    results.append(bool(good))
    print(f'{"ok" if good else "not ok"} {len(results)} - {name}')
    if not good:
        print(''.join(f'# {line}\n' for line in str(why).splitlines()), end='', flush=True)


def libraries():
    # The sanitizers' own library wants to be the first.
    found = subprocess.run(['ldd', tenonctl], stdout=subprocess.PIPE, text=True).stdout.split()
    return ' '.join([*(path for path in found if '/libasan.so' in path), fake])


class Machine:
    """A sysfs in a directory, with the controllers named."""

    def __init__(self, directory, *controllers):
        self.sys = directory
        self.config = os.path.join(directory, 'kernel/config/tenon')
        self.log = os.path.join(directory, 'log')
        self.events = os.path.join(directory, 'tenon-events')
        self.proc = os.path.join(directory, 'proc')
        for path in (self.config, os.path.join(directory, 'bus/auxiliary/devices'), self.proc):
            os.makedirs(path)
        self.write('kernel/config/tenon/tombstones', '')
        self.write('kernel/config/tenon/reap', '')
        for controller in controllers:
            self.write(f'bus/pci/devices/{controller}/tenon/units', '1')

    def path(self, name):
        return os.path.join(self.sys, name)

    def write(self, name, value):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), 'w') as file:
            file.write(f'{value}\n')

    def setting(self, partition, name):
        with open(os.path.join(self.config, partition, name)) as file:
            return file.read().rstrip('\n')

    def tree(self):
        """What is configured: each attribute with its value."""
        return {os.path.relpath(os.path.join(at, name), self.config): open(os.path.join(at, name)).read()
                for at, _, names in os.walk(self.config) for name in names if name[0] != '.'}

    def run(self, *arguments, **more):
        env = dict(os.environ, TENON_SYSFS=self.sys, TENON_EVENTS=self.events, TENON_PROC=self.proc,
                   FAKE_LOG=self.log, LD_PRELOAD=libraries(), **more)
        if os.path.exists(self.log):
            os.remove(self.log)
        return subprocess.run([tenonctl, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60)

    def changes(self):
        """What the last run did to configfs."""
        return open(self.log).read().splitlines() if os.path.exists(self.log) else []

    def expect(self, name, arguments, status=0, out='', err='', **more):
        done = self.run(*arguments, **more)
        good = done.returncode == status and all(
            want in have if want else not have for want, have in ((out, done.stdout), (err, done.stderr)))
        check(good, name, f'status {done.returncode}\n{done.stdout}{done.stderr}')
        check(all(len(line) <= 80 for line in done.stdout.splitlines() if '--json' not in arguments),
              f'{name}: 80 columns', done.stdout)
        return done

    def json(self, *arguments, **more):
        done = self.run('--json', *arguments, **more)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {'status': done.returncode, 'out': done.stdout, 'err': done.stderr}


def main(*tests):
    with tempfile.TemporaryDirectory(prefix='tenon-test-') as directory:
        def machine(*controllers):
            machine.count += 1
            return Machine(os.path.join(directory, str(machine.count)), *controllers)
        machine.count = 0
        for test in tests:
            test(machine)
    print(f'1..{len(results)}')
    return not all(results)
