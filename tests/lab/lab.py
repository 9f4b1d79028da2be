# SPDX-License-Identifier: MIT
"""What the scripts that run in the lab root share: kernels with our module built for them, booted and saved, and
the tests that start from there."""
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time

from vm import OUT, QEMU, TEST_S, VM, Failure

SRC = '/src'
GUEST = f'{SRC}/tests/lab/guest'
TESTS = ['load', 'refuse', 'node', 'unplug', 'vfio', 'msi',
         'basic', 'doorbells', 'hostile-ioctls', 'isolation',
         'death', 'faults', 'resets', 'unproven', 'crash',
         'partitions', 'events', 'meter', 'operator',
         'numa', 'allocation', 'splat', 'kunit', 'library', 'udev',
         'rounds-killed', 'rounds-unbound', 'rounds-removed', 'rounds-reset', 'rounds-unplugged', 'rounds-gone',
         'rounds-loaded', 'rounds-partitions']
PROGRAMS = {'bar': ['-m64'], 'pull': ['-m64'], 'ioctls': ['-m64', '-m32'], 'drive': ['-m64'],
            'commands': ['-m64'], 'hostile': ['-m64', '-m32'], 'access': ['-m64'], 'rings': ['-m64'],
            'pages': ['-m64'], 'hands': ['-m64'], 'mortal': ['-m64'], 'faulty': ['-m64'],
            'near': ['-m64'], 'starved': ['-m64'], 'shares': ['-m64'], 'crowd': ['-m64'], 'caps': ['-m64'], 'stream': ['-m64'], 'bill': ['-m64']}
VFIO = ['irqbypass', 'vfio', 'vfio_iommu_type1', 'vfio-pci-core', 'vfio-pci']

TRIES = 24

SPLAT = re.compile(r'\bBUG\b|\bWARNING\b|KASAN|KMSAN|KCSAN|UBSAN|DMA-API|DMAR:.*[Ff]ault|Oops|Call Trace|cut here|'
                   r'possible (circular|recursive)|possible .* detected|INFO: task|rcu:.*stall|Kernel panic|'
                   r'general protection|unable to handle|^ \d+ in use: |refcount_t:|list_(add|del) corruption|Bad page|'
                   r'scheduling while atomic|sleeping function called|inconsistent lock state|memory leak')
HARMLESS = re.compile(r'DMA-API: (preallocated|debugging enabled)|leak detector (initialized|disabled)|Kernel memory leak detector')

APPEND = ('console=ttyS0 loglevel=8 panic=-1 oops=panic mitigations=off tsc=reliable no_timer_check '
          'intel_iommu=on iommu.passthrough=0')
# Two nodes of a VM's memory, where no page moves on its own.
NODES = 'numa=fake=2 numa_balancing=disable'
# So that objects of slab caches are counted exactly: see guest/memory.h.
EXACT = 'slab_debug=F slab_nomerge'


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors='replace', **options)
    if done.returncode:
        raise Failure(f'{" ".join(command)}\n{done.stdout}')
    return done.stdout


def splats(log, announced=None):
    """Lines of the kernel's log that look like a fault."""
    with open(log, encoding='utf-8', errors='replace') as lines:
        return [line.strip() for line in lines if SPLAT.search(line) and not HARMLESS.search(line)
                and not (announced and re.search(announced, line))]


def wants(name):
    """What a test's script has for us at its head."""
    with open(f'{GUEST}/{name}', encoding='utf-8') as script:
        return dict(re.findall(r'^# (again|announces|device|kernels|seconds): (.*)', script.read(), re.M))


def provokes(name):
    with open(f'{GUEST}/{name}', encoding='utf-8') as script:
        return re.findall(r'^# provokes: (.*)', script.read(), re.M)


class Kernel:
    """One of Debian's."""

    kind, memory, slow, append, long = 'stock', '512M', 1, f'{APPEND} {NODES}', False

    def __init__(self, release):
        self.release = release
        self.files = f'{OUT}/kernels/{release}'
        self.image = f'{self.files}/vmlinux'
        self.module = f'{OUT}/module/{release}'
        self.vm = f'{OUT}/vm/{release}'
        self.headers = f'/lib/modules/{release}/build'

    def sparse(self):
        """Kernels that ask whether sparse is good enough are too new for Debian 13's: it can't read their headers."""
        with open(f'{self.headers}/Makefile', encoding='utf-8') as makefile:
            common = re.search(r'include (\S+)', makefile.read())[1]
        with open(common, encoding='utf-8') as makefile:
            return 'checker-valid.sh' not in makefile.read()

    def build(self, sparse):
        """The module; warnings of the compiler, of modpost and of sparse are errors."""
        os.makedirs(self.module, exist_ok=True)
        run('cp', '-au', *[f'{SRC}/{name}' for name in ('Kbuild', 'kmod', 'include')], self.module)
        self.make(self.module, *(['C=1', 'CF=-Wsparse-error'] if sparse else []))

    def make(self, module, *options):
        said = run('make', '-s', '-C', self.headers, f'M={module}', 'W=1', 'KCFLAGS=-Werror', *options,
                   'modules')
        if said.strip():
            raise Failure(said)

    def find(self, module):
        """File of a module of the kernel's."""
        return glob.glob(f'{self.files}/**/{re.sub("[-_]", "[-_]", module)}.ko*', recursive=True)[0]

    def modules(self):
        """Files of the modules that ours needs, in the order to load them in."""
        files = []

        def add(path):
            for name in filter(None, run('modinfo', '-F', 'depends', path).strip().split(',')):
                if self.find(name) not in files:
                    add(self.find(name))
            files.append(path)

        add(f'{self.module}/tenon.ko')
        return files[:-1]

    def initrd(self, programs):
        """Modules, tests and a busybox; uncompressed, so that the guest has nothing to unpack."""
        tree = f'{self.vm}/tree'
        shutil.rmtree(tree, ignore_errors=True)
        for name in ('bin', 'dev', 'proc', 'sys', 'modules/tenon', 'modules/vfio', 'tests'):
            os.makedirs(f'{tree}/{name}')
        shutil.copy('/bin/busybox', f'{tree}/bin/busybox')
        for applet in run('/bin/busybox', '--list').split():
            if applet != 'busybox':
                os.symlink('busybox', f'{tree}/bin/{applet}')
        shutil.copy(f'{GUEST}/init', f'{tree}/init')
        for name in ['lib.sh', 'vfio.sh', *TESTS]:
            shutil.copy(f'{GUEST}/{name}', f'{tree}/tests/{name}')
        for program in programs:
            shutil.copy(program, f'{tree}/tests/')
        for to, packed in [*((f'{number:02}', path) for number, path in enumerate(self.modules())),
                           *((f'vfio/{name}', self.find(name)) for name in VFIO)]:
            with open(f'{tree}/modules/{to}.ko', 'wb') as module:
                subprocess.run(['xz', '-dcf', packed], stdout=module, check=True)
        for path in glob.glob(f'{self.module}/*.ko'):
            run('strip', '--strip-debug', '-o', f'{tree}/modules/tenon/{os.path.basename(path)}', path)
        userspace(tree)
        digest = hashlib.sha256(repr((QEMU, self.append, self.memory, os.stat(self.image).st_mtime_ns)).encode())
        for path in sorted(glob.glob(f'{tree}/**', recursive=True)):
            if os.path.isfile(path) and not os.path.islink(path):
                digest.update(path.encode() + open(path, 'rb').read())
        with open(f'{self.vm}/initrd', 'wb') as out:
            subprocess.run('find . | cpio -o -H newc --quiet', shell=True, cwd=tree, stdout=out, check=True)
        shutil.rmtree(tree)
        return digest.hexdigest()

    def boot(self, digest):
        """Boots and saves, unless that was done for this state of things."""
        stamp = f'{self.vm}/digest'
        if os.path.exists(stamp) and open(stamp, encoding='utf-8').read() == digest:
            return ', saved before'
        for old in glob.glob(f'{self.vm}/*'):
            if not old.endswith('/initrd'):
                os.remove(old)
        with VM(self, f'{self.vm}/boot.log') as vm:
            vm.until(rb'^READY')
            if splats(vm.log):
                raise Failure('\n'.join(splats(vm.log)))
            vm.save(f'{self.vm}/state')
        with open(stamp, 'w', encoding='utf-8') as out:
            out.write(digest)
        return ', and saved'

    def test(self, name, keep):
        """Anew, if QEMU says that it was what failed: some tests it survives once in four times."""
        for tries in range(TRIES):
            try:
                return self.once(name, keep) + (f', QEMU failed {tries} times before' if tries else '')
            except Failure:
                with open(f'{self.vm}/{name}.log.qemu', encoding='utf-8', errors='replace') as log:
                    if tries == TRIES - 1 or not re.search(wants(name).get('again', '$^'), log.read()):
                        raise
        return None

    def once(self, name, keep):
        wanted = wants(name)
        base = f'{self.vm}/{name}'
        for old in glob.glob(f'{base}.*'):
            os.remove(old)
        with VM(self, f'{base}.log', '-incoming', 'defer') as vm:
            try:
                vm.restore(f'{self.vm}/state')
                vm.time(int(wanted.get('seconds', TEST_S)) * (10 if self.long else 1))
                if 'device' in wanted:
                    vm.plug(wanted['device'])
                vm.tell(f'{name} long' if self.long else name)
                status = int(vm.until(rb'^END (\d+)')[1])
                vm.end()
            finally:
                with open(f'{base}.tap', 'wb') as out:
                    out.write(vm.said)
        said = vm.said.decode(errors='replace')
        # With what the test says of it, which is all that a log of CI's will have.
        bad = [line for lines in re.findall(r'((?:^#.*\n){0,8}^not ok.*)', said, re.M) for line in lines.split('\n')]
        found = splats(vm.log, wanted.get('announces'))
        if os.path.exists(f'{base}.log.trace'):
            found += splats(f'{base}.log.trace', wanted.get('announces'))
        bad += [f'not noticed: {regex}' for regex in provokes(name)
                if not any(re.search(regex, line) for line in splats(vm.log))]
        if status or bad or found or not re.search('^ok ', said, re.M):
            raise Failure('\n'.join([f'it ended {status}', *bad, *found, f'logs: BUILD/lab{base[len(OUT):]}.*']))
        if not keep:
            for path in glob.glob(f'{base}.*'):
                os.remove(path)
        return f', {len(re.findall("^ok ", said, re.M))} checks'


class DebugKernel(Kernel):
    """That of tests/lab/debug-kernel. Started from its bzImage: from the ELF image KASAN triple-faults."""

    # kmemleak makes all take two to four times as long: --leaks for those who have the time.
    kind, memory, slow, append = 'debug', '1G', 6, f'{APPEND} {EXACT} kmemleak=off'

    def __init__(self, release):
        super().__init__(release)
        self.files = f'{OUT}/debug/{release}'
        self.image = f'{self.files}/bzImage'
        self.headers = f'{self.files}/build'

    def sparse(self):
        """It has read the same for Debian's."""
        return False

    def build(self, sparse):
        super().build(sparse)
        splat = f'{self.module}/splat'
        os.makedirs(splat, exist_ok=True)
        run('cp', '-au', f'{GUEST}/splat.c', splat)
        with open(f'{splat}/Kbuild', 'w', encoding='utf-8') as kbuild:
            kbuild.write('obj-m := splat.o\n')
        self.make(splat)
        run('cp', '-a', f'{splat}/splat.ko', self.module)
        kunit = f'{self.module}/kunit'
        os.makedirs(f'{kunit}/tests', exist_ok=True)
        run('cp', '-au', f'{SRC}/kmod', f'{SRC}/include', kunit)
        run('cp', '-au', f'{SRC}/tests/kunit', f'{kunit}/tests')
        run('cp', '-au', f'{SRC}/tests/kunit/Kbuild', kunit)
        self.make(kunit)
        run('cp', '-a', f'{kunit}/tenon-kunit.ko', self.find('kunit'), self.module)


def harness():
    """The harness of the kernel's selftests, which is in no package but that of its source."""
    out = f'{OUT}/kselftest'
    if not os.path.exists(out):
        os.makedirs(f'{out}.new', exist_ok=True)
        source = 'linux-source-6.12/tools/testing/selftests'
        run('tar', '-C', f'{out}.new', '-xf', '/usr/src/linux-source-6.12.tar.xz', '--strip-components=4',
            '--occurrence=1', f'{source}/kselftest.h', f'{source}/kselftest_harness.h')
        os.rename(f'{out}.new', out)
    return out


def programs():
    """Static programs for the guest, each in the widths that it is wanted in."""
    out = f'{OUT}/guest'
    os.makedirs(out, exist_ok=True)
    with open('/usr/include/drm/drm.h', encoding='utf-8') as header:
        names = re.findall(r'^#define (DRM_IOCTL_\w+)\s+DRM_IO', header.read(), re.M)
    with open(f'{out}/names.h', 'w', encoding='utf-8') as header:
        header.writelines(f'NAME({name})\n' for name in names)
    built = []
    for name, widths in PROGRAMS.items():
        for width in widths:
            to = f'{out}/{name}{width[2:] if len(widths) > 1 else ""}'
            run('gcc', width, '-static', '-O2', '-Wall', '-Wextra', '-Werror', '-D_FILE_OFFSET_BITS=64',
                '-isystem', harness(), f'-I{out}', f'-I{SRC}/include/uapi', f'-I{SRC}/include', '-o', to,
                f'{GUEST}/{name}.c')
            built.append(to)
    return built


def userspace(tree):
    """Our programs and udev, with all libraries that they need in /lib."""
    for name in ('lib/systemd', 'lib64', 'etc', 'usr/lib/udev/rules.d'):
        os.makedirs(f'{tree}/{name}')
    programs = [*glob.glob(f'{OUT}/userspace/*'), '/usr/bin/udevadm']
    env = dict(os.environ, LD_LIBRARY_PATH=f'{OUT}/userspace')
    for library in set(re.findall(r'(/\S+) \(0x', ''.join(run('ldd', program, env=env) for program in programs))):
        shutil.copy(library, f'{tree}/{"lib64" if "/ld-linux" in library else "lib"}/')
    for program in programs:
        run('strip', '-o', f'{tree}/{"bin" if program.startswith("/usr") else "tests"}/{os.path.basename(program)}',
            program)
    for path in glob.glob(f'{SRC}/examples/complete/model/*'):
        shutil.copy(path, f'{tree}/tests/')
    for path in ['/usr/lib/udev/rules.d/50-udev-default.rules', f'{SRC}/udev/60-tenon.rules']:
        shutil.copy(path, f'{tree}/usr/lib/udev/rules.d/')
    for name in ('passwd', 'group'):
        shutil.copy(f'/etc/{name}', f'{tree}/etc/')


class Tap:
    """Lines may come from several threads; they are numbered as they end."""

    def __init__(self):
        self.number = self.failed = 0
        self.lock = threading.Lock()

    def line(self, name, function, *args):
        """Runs one test and prints its line, with what the function adds to it; returns whether it was good."""
        start = time.monotonic()
        why, note = None, ''
        try:
            note = function(*args)
        except (Failure, subprocess.CalledProcessError) as failure:
            why = str(failure)
        with self.lock:
            self.number += 1
            self.failed += why is not None
            print(f'{"ok" if why is None else "not ok"} {self.number} - {name} '
                  f'({time.monotonic() - start:.1f} s{note or ""})')
            for text in (why or '').splitlines()[:60]:
                print(f'# {text}')
            sys.stdout.flush()
        return why is None


def locked():
    """A file that holds, while it is open, all others off."""
    lock = open(f'{OUT}/vm.lock', 'w', encoding='utf-8')
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
