#!/usr/bin/python3
"""The scenarios of pod_shards.py with examples/checksum-controller, which is built on our library for shards."""

from pod_shards import suite_of  # first: it finds the modules of tests/e2e
import images

suite = suite_of("kind: shards", images.SHARD)

if __name__ == "__main__":
    suite.main()
