#!/usr/bin/python3
"""How many objects move while a Deployment's shards are replaced, and how many one shard has at worst
(docs/decisions/0011-cordon-and-grace.md). No cluster: tests/e2e/oracle.py says who owns what after each step.

maxUnavailable is 0. Each step is one shard that becomes available, or one old shard that ends.
"""

import random
import statistics
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from oracle import Ring  # noqa: E402

OBJECTS, RUNS = 4_000, 3
KEYS = [f"/Secret/ns/object-{number}" for number in range(OBJECTS)]
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def steps(old, new, surge):
    """The available (old, new) shards, after each step of a rolling update."""
    old, waiting, started = list(old), list(new), []
    size = len(old)
    yield list(old), []
    while old or waiting:
        while waiting and len(old) + len(started) < size + surge:
            started.append(waiting.pop(0))
            yield list(old), list(started)
        while old and (len(old) + len(started) > size or not waiting):
            old.pop(0)
            yield list(old), list(started)


def everywhere(old, new, _):
    return Ring(old + new).owner


def newest(old, new, _):
    return Ring(new or old).owner


def newest_when_half(old, new, _):
    return Ring(new if len(new) >= len(old) else old).owner


def leavers_to_the_newest(old, new, owners):
    """An object stays on a living old shard, and goes to a new one when that ends. Its place depends on where it was, so
    webhook and rebalancer cannot agree on it: it is a limit, not a choice."""
    ring, living = Ring(new or old), set(old)
    return lambda key: owners[key] if owners.get(key) in living else ring.owner(key)


def roll(rule, size, surge, seed):
    """(moves for each object, the largest share of a shard as a multiple of the mean)."""
    rng = random.Random(seed)
    names = [["ctl-" + "".join(rng.choices(ALPHABET, k=10)) + "-" + "".join(rng.choices(ALPHABET, k=5))
              for _ in range(size)] for _ in range(2)]
    owners, moves, worst = {}, 0, 0
    for old, new in steps(*names, surge):
        owner = rule(old, new, owners)
        after = {key: owner(key) for key in KEYS}
        moves += sum(owners[key] != after[key] for key in owners)
        owners = after
        worst = max(worst, max(Counter(owners.values()).values()))
    return moves / OBJECTS, worst * size / OBJECTS


def main():
    print("| shards | maxSurge | rule | moves for each object | largest share, mean = 1 |")
    print("| --- | --- | --- | --- | --- |")
    for size in (4, 12, 30):
        for surge in (1, max(2, size // 4), size):
            for rule in (everywhere, newest, newest_when_half, leavers_to_the_newest):
                results = [roll(rule, size, surge, seed) for seed in range(RUNS)]
                moves, worst = (statistics.mean(column) for column in zip(*results))
                print(f"| {size} | {surge} | {rule.__name__.replace('_', ' ')} | {moves:.2f} | {worst:.1f} |", flush=True)


if __name__ == "__main__":
    main()
