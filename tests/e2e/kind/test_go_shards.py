#!/usr/bin/python3
"""The scenarios of pod_shards.py with the Go project's own sharded controller."""

from pod_shards import suite_of  # first: it finds the modules of tests/e2e
import images

suite = suite_of("kind: the Go project's shards", images.GO_SHARD)

if __name__ == "__main__":
    suite.main()
