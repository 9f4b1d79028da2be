# SPDX-License-Identifier: MIT
"""What tests/check and tests/check-mutants share: where they run, and counting TAP."""
import os
import platform
import re

LINE = re.compile(r'^\s*(ok|not ok)\b(.*)$')


def machine():
    with open('/etc/os-release', encoding='utf-8') as release:
        name = dict(line.strip().split('=', 1) for line in release if '=' in line)['PRETTY_NAME'].strip('"')
    return f'{name}, Linux {platform.release()}, {platform.machine()}, {os.cpu_count()} cores'


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped'


def count(output, status):
    """Sums of one TAP producer. One that fails without saying so, or says nothing, is a failure."""
    sums = Count()
    for line in output.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        if match[1] == 'not ok':
            sums.failed += 1
        elif re.search(r'#\s*skip', match[2], re.I):
            sums.skipped += 1
        else:
            sums.passed += 1
    if (status and not sums.failed) or not (sums.passed or sums.failed or sums.skipped):
        sums.failed += 1
    return sums


def failures(output):
    """The 'not ok' lines and what was said right before and after them, for people."""
    lines = output.splitlines()
    wanted = set()
    for i, line in enumerate(lines):
        if re.match(r'^\s*not ok\b', line) or 'ERROR: ' in line or 'runtime error' in line:
            wanted.update(range(max(0, i - 3), min(len(lines), i + 12)))
    return '\n'.join(lines[i] for i in sorted(wanted)) or '\n'.join(lines[-30:])
