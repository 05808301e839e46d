"""What a demonstration prints: lines, and below them, in a terminal, a table that is drawn anew in place."""

import collections
import shutil
import sys
import threading

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"  # a line that is too long is cut, not continued
CLEAR_BELOW, CLEAR_ALL = "\x1b[J", "\x1b[H\x1b[2J"
PERIOD = 0.5  # seconds between two pictures of the table
BAR = 30
MIN_COLUMNS = 40


class Screen:
    """say() prints a line. In a terminal, `rows()` gives the table below the lines, which is drawn twice a second. Use
    as a context manager; it leaves the last table and the cursor behind. Safe from any thread.

    One thread of its own writes to a terminal, so that no signal comes in the middle of a picture."""

    def __init__(self, rows, out=sys.stdout):
        self._rows, self._out = rows, out
        self.terminal = out.isatty()
        self._change = threading.Condition()  # guards the next three
        self._said = []  # not printed yet
        self._live = self._ends = False
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        # Of the thread:
        self._printed = collections.deque(maxlen=500)  # lines, for a picture anew
        self._height = 0  # lines of the table on the screen
        self._width = columns()

    def __enter__(self):
        if self.terminal:
            self._live = True
            self._thread.start()
        return self

    def __exit__(self, *_):
        with self._change:
            self._live, self._ends = False, True
            self._change.notify()
        if self.terminal:
            self._thread.join(10)

    def say(self, line=""):
        with self._change:
            if self._live:
                self._said.append(line)
                self._change.notify()
                return
        print(line, file=self._out, flush=True)

    def _run(self):
        self._write(HIDE_CURSOR)
        while not self._ends:
            with self._change:
                self._change.wait_for(lambda: self._said or self._ends, PERIOD)
            self._draw()
        self._draw()
        self._write(SHOW_CURSOR)

    def _draw(self):
        """What was said since, and the table below it, in the place of the last one. Terminals differ in what they make
        of lines that were there when they were resized, so then all is drawn anew."""
        with self._change:
            said, self._said = self._said, []
        width, height = shutil.get_terminal_size((80, 24))
        lines = table(self._rows(), width)
        self._printed.extend(said)
        if width == self._width:
            start = (f"\x1b[{self._height}A" if self._height else "") + "\r" + CLEAR_BELOW
        else:
            start, said = CLEAR_ALL, list(self._printed)[-max(1, height - len(lines) - 1):]
        self._width, self._height = width, len(lines)
        self._write(start + "".join(line + "\n" for line in said) + NO_WRAP +
                    "".join(line + "\n" for line in lines) + WRAP)

    def _write(self, text):
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone


def columns():
    return max(1, shutil.get_terminal_size((80, 24)).columns)


def table(rows, width):
    """The lines of a table for a terminal of this width. A row: (shard, state, objects, drains, reconciles a second,
    its part of all objects)."""
    width = max(width, MIN_COLUMNS)
    room = width - 32  # of all columns but the first, with the blanks before them
    longest = max([len(row[0]) for row in rows] + [len("shard")])
    name = min(room, longest)
    lines = [f"{'shard':<{name}} {'state':<9} {'objects':>7} {'drains':>6} {'rec/s':>6}"]
    for shard, state, objects, drains, speed, part in rows:
        bar = min(BAR, width - len(lines[0]) - 2)
        lines.append((f"{shard[:name]:<{name}} {state[:9]:<9} {objects:>7} {drains:>6} {speed:>6}"
                      f"  {'#' * round(part * bar) if bar > 0 else ''}").rstrip())
    return lines
