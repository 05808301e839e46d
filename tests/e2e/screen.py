"""What a demonstration prints: lines, and below them, in a terminal, a table that is drawn anew in place."""

import atexit
import shutil
import sys
import threading

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"  # a line that is too long is cut, not continued
CLEAR_BELOW = "\x1b[J"
BAR = 30
MIN_COLUMNS = 40


class Screen:
    """say() prints a line. In a terminal, `rows()` gives the table below the lines, which refresh() draws. Use as a context
    manager; it leaves the last table and the cursor behind, whatever ends the program. Safe from any thread."""

    def __init__(self, rows, out=sys.stdout):
        self._rows, self._out = rows, out
        self._lock = threading.RLock()
        self._drawn = []  # the lines of the table that is on the screen
        self._live = False
        self.terminal = out.isatty()

    def __enter__(self):
        if self.terminal:
            atexit.register(self._show_cursor)
            self._live = True
            self._write(HIDE_CURSOR)
        return self

    def __exit__(self, *_):
        if self.terminal:
            with self._lock:
                self._live = False
                self._show_cursor()
                atexit.unregister(self._show_cursor)

    def say(self, line=""):
        with self._lock:
            if not self._live:
                print(line, file=self._out, flush=True)
                return
            self._write(self._erased() + line + "\n")
            self._drawn = []
            self.refresh()

    def refresh(self):
        """Draws the table as it is now."""
        with self._lock:
            if self._live:
                lines = table(self._rows(), columns())
                text = self._erased() + NO_WRAP + "".join(line + "\n" for line in lines) + WRAP
                self._drawn = lines
                self._write(text)

    def _erased(self):
        """The cursor goes back to where the table began. A terminal that has become narrower may have broken its lines."""
        width = columns()
        height = sum(max(1, -(-len(line) // width)) for line in self._drawn)
        return (f"\x1b[{height}A" if height else "") + "\r" + CLEAR_BELOW

    def _show_cursor(self):
        self._write(WRAP + SHOW_CURSOR)

    def _write(self, text):
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone


def columns():
    return max(1, shutil.get_terminal_size((80, 24)).columns)


def table(rows, width):
    """The lines of a table for a terminal of this width. A row: (shard, state, objects, drains, reconciles a second, its
    part of all objects)."""
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
