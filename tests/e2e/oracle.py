#!/usr/bin/python3
"""Says which shard an object belongs to, in a few lines of its own: the sharder is checked against this.

docs/protocol.md, sections 4 and 6. Run as a program it checks itself against tests/testdata/vectors/ring.json.
"""

import bisect
import json
import sys
from pathlib import Path

import xxhash

VECTORS = Path(__file__).resolve().parents[1] / "testdata" / "vectors" / "ring.json"
TOKENS_PER_SHARD = 100


class Ring:
    """The owners of keys among `shards`."""

    def __init__(self, shards):
        # Sorted by token and then by name: of two shards with the same token the bytewise smallest name comes first.
        tokens = sorted((xxhash.xxh64_intdigest(f"{shard}{number}".encode()), shard.encode(), shard)
                        for shard in set(shards) for number in range(TOKENS_PER_SHARD))
        self._tokens = [token for token, _, _ in tokens]
        self._owners = [shard for _, _, shard in tokens]

    def owner(self, key):
        """The first token that is not below the key's hash, wrapping around; None without shards."""
        if not self._tokens:
            return None
        return self._owners[bisect.bisect_left(self._tokens, xxhash.xxh64_intdigest(key.encode())) % len(self._tokens)]


def main_key(group, kind, namespace, name):
    """The key of a main object itself."""
    return f"{group}/{kind}/{namespace or ''}/{name}"


def controlled_key(item):
    """The key of a controlled object: of its controller, in the object's own namespace. None without a controller."""
    metadata = item["metadata"]
    for reference in metadata.get("ownerReferences", []):
        if reference.get("controller"):
            group = reference["apiVersion"].rpartition("/")[0]
            return main_key(group, reference["kind"], metadata.get("namespace"), reference["name"])
    return None


def shard_label(ring):
    return f"shard.alpha.sharding.timebertt.dev/{ring}"


def drain_label(ring):
    return f"drain.alpha.sharding.timebertt.dev/{ring}"


def shard_of(item, ring):
    """The shard that an object says it has; None without one."""
    return item["metadata"].get("labels", {}).get(shard_label(ring)) or None


def target_of(item, ring):
    """Where an object goes that drains; None when it does not drain, or the drain names no target."""
    target = item["metadata"].get("labels", {}).get(drain_label(ring))
    return None if target in (None, "", "true") else target


def wrong_owners(items, ring_name, ring, group=None, kind=None):
    """What is wrong, a line an object. Main objects of `group` and `kind`; without a kind, controlled objects."""
    wrong = []
    for item in items:
        metadata = item["metadata"]
        if kind is None:
            key = controlled_key(item)
        else:
            key = main_key(group, kind, metadata.get("namespace"), metadata["name"])
        expected = ring.owner(key) if key is not None else None
        actual = shard_of(item, ring_name)
        if actual != expected:
            wrong.append(f"{metadata.get('namespace', '')}/{metadata['name']}: has {actual}, belongs to {expected}")
    return wrong


def check_vectors():
    """Number of vectors that hold; AssertionError names the first that does not."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    count = 0
    for text, expected in vectors["hash"].items():
        assert xxhash.xxh64_hexdigest(text.encode()) == expected, text
        count += 1
    for ring in vectors["rings"]:
        mine = Ring(ring["shards"])
        for key, expected in ring["owners"].items():
            assert mine.owner(key) == expected, f"{ring['name']}: {key}: {mine.owner(key)}, not {expected}"
            count += 1
    return count


if __name__ == "__main__":
    print(f"oracle.py: {check_vectors()} vectors hold")
    sys.exit(0)
