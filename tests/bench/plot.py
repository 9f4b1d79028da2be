# SPDX-License-Identifier: MIT
"""Shares of the device over time, as SVG: the lines of numbers that tests/sched/gates writes to $SCHED_PLOT."""

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 800, 320, 56, 30, 40
COLOURS = ['#2b6cb0', '#c05621', '#2f855a', '#6b46c1']


def svg(lines, names, title, change=None):
    """@lines: time in s, then a percentage for each of @names. @change: when something was changed."""
    rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    end = rows[-1][0] + (rows[1][0] - rows[0][0])
    right = WIDTH - 110

    def x(seconds):
        return LEFT + (right - LEFT) * seconds / end

    def y(percent):
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * percent / 100

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="18">{title}</text>']
    for percent in range(0, 101, 20):
        out.append(f'<path d="M{LEFT} {y(percent):.1f}H{right}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y(percent) + 4:.1f}" text-anchor="end">{percent} %</text>')
    for second in range(int(end) + 1):
        out.append(f'<text x="{x(second):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{second} s</text>')
    if change is not None:
        out.append(f'<path d="M{x(change):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="4"/>')
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        points = ' '.join(f'{x(row[0]):.1f},{y(row[number + 1]):.1f}' for row in rows)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                   f'<text x="{right + 8}" y="{y(rows[-1][number + 1]) + 4:.1f}" fill="{colour}">{name}</text>')
    return '\n'.join(out) + '\n</svg>\n'
