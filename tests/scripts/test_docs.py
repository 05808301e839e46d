#!/usr/bin/python3
"""scripts/docs.py notices what docs/ leave out. Part of `make lint`."""

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import docs  # pylint: disable=wrong-import-position

PAGE = """# A page

1. An item:

   <!-- run: kind -->
   ```sh
   echo one
     echo two
   ```

<!-- not run: it needs a moon -->
```sh
echo three
```

```sh
echo four
```

```yaml
no: shell
```
"""


class Docs(unittest.TestCase):
    def without(self, page, text):
        """What is found when this text is taken out of a page; a list."""
        before = docs.read

        def read(path):
            found = before(path)
            if path == (docs.DOCS / page).resolve():
                self.assertIn(text, found)
                found = found.replace(text, "")
            return found

        with mock.patch.object(docs, "read", read):
            return list(docs.problems())

    def test_nothing_is_left_out(self):
        self.assertEqual(list(docs.problems()), [])
        self.assertGreater(len(docs.config_fields()), 40)
        self.assertGreater(len(docs.metric_names()), 30)
        self.assertGreaterEqual(len(docs.event_reasons()), 7)
        self.assertGreaterEqual(len(docs.granted()), 30)

    def test_what_is_left_out_is_named(self):
        for page, text, name in (
                ("reference/configuration.md", "    syncPeriod: 5m\n", "syncPeriod"),
                ("reference/metrics.md", "| `controller_sharding_drains_total`", "controller_sharding_drains_total"),
                ("reference/events.md", "| `MoveFailed`", "MoveFailed"),
                ("reference/events.md", "| `WebhookReachable`", "WebhookReachable"),
                ("security/rbac.md", "list, watch | which", "namespaces")):
            found = self.without(page, text)
            self.assertTrue(found and all(name in one for one in found), (page, found))

    def test_what_does_not_exist_is_named(self):
        with mock.patch.object(docs, "metric_names", lambda: {"controller_sharding_drains_total"}):
            self.assertIn("the metric controller_sharding_pending_moves is documented and does not exist", docs.problems())

    def test_links_that_lead_nowhere_are_named(self):
        for page, text, found in (
                ("concepts/guarantees.md", "ules.md", "a link to ../r, which does not exist"),
                ("faq.md", "-go-beyond-it", "a link to protocol.md#9-where-we, which has no such heading"),
                ("../README.md", "-page", "a link to docs/operations.md#status, which has no such heading")):
            self.assertIn(found, "; ".join(self.without(page, text)))

    def test_blocks_say_where_they_are_run(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "page.md").write_text(PAGE, encoding="ascii")
            with mock.patch.object(docs, "DOCS", Path(folder)), mock.patch.object(docs, "RUN_PAGES", ("page.md",)):
                one, three, four = docs.blocks("page.md")
                self.assertEqual((one.place, one.reason, one.text), ("kind", "", "echo one\n  echo two"))
                self.assertEqual((three.place, three.reason), (None, "it needs a moon"))
                self.assertEqual((four.place, four.reason), (None, ""))
                self.assertEqual([one.split(":")[0:2] for one in docs.wrong_marks()], [["docs/page.md", str(four.line)]])


if __name__ == "__main__":
    unittest.main()
