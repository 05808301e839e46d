#!/usr/bin/python3
"""The workflows of .github/ are such as the forge accepts (actionlint), and call what the project calls itself. Part of
`make lint`."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import binaries  # pylint: disable=wrong-import-position

ACTIONLINT = ("github.com/rhysd/actionlint", "1.7.7", "cmd/actionlint")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


class Workflows(unittest.TestCase):
    def test_actionlint_finds_nothing(self):
        done = subprocess.run([binaries.tool(*ACTIONLINT), "-no-color", "-shellcheck=", "-pyflakes=", *WORKFLOWS],
                              check=False, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_actions_are_pinned_and_come_from_the_forge_itself(self):
        for path in WORKFLOWS:
            for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
                self.assertRegex(action, r"^actions/[a-z-]+@v\d+\.\d+\.\d+$", path.name)

    def test_they_may_only_read_and_run_our_own_scripts(self):
        text = {path.stem: path.read_text(encoding="utf-8") for path in WORKFLOWS}
        for name, one in text.items():
            self.assertEqual(yaml.safe_load(one)["permissions"], {"contents": "read"}, name)
        self.assertIn("run: .ci/run", text["checks"])
        self.assertIn("run: make release", text["release"])

    def test_issue_templates_are_yaml(self):
        for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
            self.assertTrue(yaml.safe_load(path.read_text(encoding="utf-8")), path)


if __name__ == "__main__":
    unittest.main()
