#!/usr/bin/python3
"""Runs a program once, and prints what it took as JSON. A small program of its own, because Linux counts the memory of
whoever starts a program to that program's peak."""

import json
import resource
import subprocess
import sys
import time

began = time.monotonic()
with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
    printed = len(process.stdout.readline())
    first = time.monotonic() - began
    while chunk := process.stdout.read(1 << 16):
        printed += len(chunk)
whole = time.monotonic() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": process.returncode, "bytes": printed, "first": first, "whole": whole,
                  "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}))
