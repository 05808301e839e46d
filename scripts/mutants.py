#!/usr/bin/python3
"""Whether the tests notice: applies each patch of tests/mutants to a copy of the sources; the tests it names must fail.

    mutants.py                     all of them, by hand or as `make mutants`; the table is printed as it grows
    mutants.py lease_ready ...     only these (names of files without .patch)
    mutants.py --check             runs nothing: every patch applies, every rule that needs one has one (part of lint)
    mutants.py --rev HEAD          the committed sources instead of those in the working tree

A patch begins with the row of docs/rules.md that it breaks and one or more of the tests that the row names:

    rule: 3 state `ready`
    test: tests/unit/membership/lease_state_test.cc "each row of the table gives its state and when to look again ..."

and goes on with a unified diff. Rules of protocol.md's sections 3, 5 and 6 and all invariants of design.md need one.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "tests" / "mutants"
WORK = ROOT / "build" / "mutants"
SOURCES, BUILD = WORK / "src", WORK / "build"
TEST = re.compile(r'`([^`]+)` "([^"]+)"')
SECTIONS = ("3 ", "5 ", "6 ")  # of the protocol
UNIT_SECONDS, E2E_SECONDS = 300, 420
RESULTS = {"passed": "SURVIVED", "failed": "killed", "crashed": "killed (crash)", "hung": "killed (hang)"}


class Problem(Exception):
    """Something is wrong with a mutant or with the table, not with a test."""


def parse_rules():
    """{row: set of (path, title), or None where the row says what is still missing} of the rows that need a mutant."""
    rules, section = {}, ""
    for line in (ROOT / "docs" / "rules.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = line.strip().strip("|").split(" | ")
        if not line.startswith("| ") or len(cells) < 2 or cells[0].strip() in ("rule", "---"):
            continue
        row = cells[0].strip()
        if section.startswith("Invariants") or (section == "Protocol" and row.startswith(SECTIONS)):
            cell = cells[-1].strip()
            rules[row] = None if cell.startswith("later: ") else set(TEST.findall(cell))
    if not rules:
        raise Problem("docs/rules.md has no rules")
    return rules


@dataclass(frozen=True)
class Test:
    path: str
    title: str

    def program(self):
        """What has to be built to run it."""
        kind, module = Path(self.path).parts[1:3]
        return "sharder" if kind == "e2e" else f"test_{module}"

    def run(self):
        """"passed", "failed", "crashed" or "hung". Raises Problem when no such test was found."""
        kind = Path(self.path).parts[1]
        return self._e2e() if kind == "e2e" else self._transcript() if kind == "testdata" else self._unit()

    def _unit(self):
        return self._doctest(self.path, self.title)[0]

    def _transcript(self):
        """Transcripts are played by one test case, which says of which file it speaks."""
        source = f"tests/unit/{Path(self.path).parts[2]}/transcript_test.cc"
        title = re.search(r'TEST_CASE\("([^"]+)"\)', (SOURCES / source).read_text(encoding="utf-8"))[1]
        result, output = self._doctest(source, title)
        return "passed" if result == "failed" and f":= {Path(self.path).name}" not in output else result

    def _doctest(self, source, title):
        # Commas, quotes and backslashes mean something to doctest; a question mark stands for any character.
        pattern = re.sub(r'[,"\\*]', "?", title)
        done = run([BUILD / "tests" / self.program(), f"--source-file=*{source}", f"--test-case={pattern}",
                    "--no-colors"], UNIT_SECONDS)
        if done is None or done.returncode < 0:
            return ("hung", "") if done is None else ("crashed", done.stdout)
        counts = re.search(r"test cases: +(\d+) \|", done.stdout)
        if not counts or counts[1] != "1":
            raise Problem(f"{counts[1] if counts else 'no'} test cases are {source} {title!r}")
        return "passed" if done.returncode == 0 else "failed", done.stdout

    def _e2e(self):
        environment = {"SHARDER_BIN": str(BUILD / "sharder" / "sharder"), "KUBEBUILDER_ASSETS": control_plane()}
        done = run(["/usr/bin/python3", SOURCES / self.path, "--only", self.title], E2E_SECONDS, environment)
        if done is None:
            return "hung"
        counts = re.search(r"(\d+) passed, (\d+) failed", done.stdout)
        if not counts or counts[1] == counts[2] == "0":
            raise Problem(f"{self.path} has no case {self.title!r}, or did not come to it:\n{done.stdout[-2000:]}")
        return "passed" if done.returncode == 0 else "failed"


@dataclass(frozen=True)
class Mutant:
    name: str
    rule: str
    tests: tuple
    patch: Path

    @staticmethod
    def read(patch):
        head = patch.read_text(encoding="utf-8").split("\n--- ")[0]
        rule = re.search(r"^rule: (.+)$", head, re.MULTILINE)
        tests = [re.fullmatch(r'(\S+) "(.+)"', line) for line in re.findall(r"^test: (.+)$", head, re.MULTILINE)]
        if not rule or not tests or None in tests:
            raise Problem(f"{patch.name}: it does not begin with `rule: ...` and `test: path \"title\"`")
        return Mutant(patch.stem, rule[1], tuple(Test(*test.groups()) for test in tests), patch)


def run(command, seconds=None, environment=None, cwd=None):
    """The finished process with its output as text; None when it took longer than `seconds`."""
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", cwd=cwd,
                               env={**os.environ, **(environment or {})})
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # an end-to-end test stops what it started
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return None
    return subprocess.CompletedProcess(command, process.returncode, output)


def must(command, what, **options):
    done = run(command, **options)
    if done.returncode != 0:
        raise Problem(f"{what}:\n{done.stdout[-4000:]}")
    return done.stdout


_assets = []


def control_plane():
    """The folder with kube-apiserver and etcd, built on first use."""
    if not _assets:
        _assets.append(os.environ.get("KUBEBUILDER_ASSETS") or
                       must(["/usr/bin/python3", ROOT / "tests/e2e/binaries.py"], "control plane").split()[-1])
    return _assets[0]


def check(mutants, rules, tree):
    """What is wrong with patches and table, a line each. `tree`: the folder that the patches are for."""
    problems = []
    # Inside another repository git would take paths from that one's top.
    environment = {"GIT_CEILING_DIRECTORIES": str(tree.parent)}
    for mutant in mutants:
        if mutant.rule not in rules:
            problems.append(f"{mutant.name}: docs/rules.md has no row {mutant.rule!r} that needs a mutant")
        else:
            problems += [f"{mutant.name}: the row {mutant.rule!r} does not name {test.path} {test.title!r}"
                         for test in mutant.tests if (test.path, test.title) not in (rules[mutant.rule] or ())]
        applied = run(["git", "apply", "--check", mutant.patch], cwd=tree, environment=environment)
        if applied.returncode != 0:
            problems.append(f"{mutant.name}: the patch does not apply: {applied.stdout.strip()}")
    return problems


def without_mutant(mutants, rules):
    have = {mutant.rule for mutant in mutants}
    return [row for row in rules if row not in have]


def copy_sources(revision):
    """Makes SOURCES what is tracked, as it stands in the working tree or in `revision`; what is the same stays."""
    if revision:
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            files = {entry.name: (tar.extractfile(entry).read(), entry.mode) for entry in tar if entry.isfile()}
    else:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        paths = {name: ROOT / name for name in names.decode().split("\0") if name}
        files = {name: (path.read_bytes(), path.stat().st_mode & 0o777) for name, path in paths.items()
                 if path.is_file()}
    for path in [path for path in SOURCES.rglob("*") if path.is_file()]:
        if str(path.relative_to(SOURCES)) not in files:
            path.unlink()
    for name, (content, mode) in files.items():
        path = SOURCES / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)


class Workshop:
    """The copy and its build."""

    def __init__(self, jobs):
        self._jobs = jobs

    def configure(self):
        # Nobody debugs these programs: without debug information they link in a second.
        must(["cmake", "--preset", "debug", "-B", BUILD, "-S", SOURCES, "-DCMAKE_CXX_FLAGS_DEBUG=-O0"], "cmake",
             cwd=SOURCES)

    def build(self, programs):
        """What the compiler said if it failed, "" if not."""
        done = run(["cmake", "--build", BUILD, "-j", self._jobs, "--target", *programs])
        return "" if done.returncode == 0 else done.stdout

    def mutated(self, mutant):
        """The copy with the patch, until the context is left."""
        return _Mutated(mutant)


class _Mutated:
    def __init__(self, mutant):
        self._patch = mutant.patch
        self._files = re.findall(r"^--- a/(\S+)", mutant.patch.read_text(encoding="utf-8"), re.MULTILINE)

    def __enter__(self):
        self._before = {SOURCES / name: (SOURCES / name).read_bytes() for name in self._files}
        must(["git", "apply", self._patch], "git apply", cwd=SOURCES,
             environment={"GIT_CEILING_DIRECTORIES": str(SOURCES.parent)})

    def __exit__(self, *_):
        for path, content in self._before.items():
            path.write_bytes(content)  # with a new time, so that it is built again


def baseline(workshop, mutants):
    """Runs each test on the sources as they are."""
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    if output := workshop.build(sorted({test.program() for test in tests})):
        raise Problem(f"the sources do not build:\n{output[-4000:]}")
    failed = [test for test in tests if test.run() != "passed"]
    if failed:
        raise Problem("these fail without any mutant:\n" + "\n".join(f"{test.path} {test.title!r}" for test in failed))
    print(f"{len(tests)} tests pass without a mutant", flush=True)


def try_out(workshop, mutant):
    """Yields (test, how it ended, seconds) for each test of the mutant."""
    with workshop.mutated(mutant):
        for test in mutant.tests:
            began = time.monotonic()
            if output := workshop.build([test.program()]):
                raise Problem(f"{mutant.name} does not build:\n" +
                              "\n".join(line for line in output.splitlines() if "error" in line)[-2000:])
            yield test, RESULTS[test.run()], time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--check", action="store_true", help="only whether patches apply and rules have one")
    parser.add_argument("--rev", default="", help="sources of this commit")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    every = [Mutant.read(patch) for patch in sorted(MUTANTS.glob("*.patch"))]
    rules = parse_rules()
    missing = without_mutant(every, rules)
    if options.check:
        # A row that names no test yet has nothing that could fail.
        problems = check(every, rules, ROOT) + [f"docs/rules.md: no mutant for {row!r}" for row in missing
                                                if rules[row] is not None]
        for problem in problems:
            print(problem)
        if not problems:
            print(f"lint: {len(every)} mutants apply, {len(rules) - len(missing)} of {len(rules)} rules have one")
        return 1 if problems else 0

    unknown = set(options.names) - {mutant.name for mutant in every}
    if unknown:
        raise Problem(f"no such mutant: {', '.join(sorted(unknown))}")
    mutants = sorted((mutant for mutant in every if not options.names or mutant.name in options.names),
                     key=lambda mutant: (mutant.tests[0].program(), list(rules).index(mutant.rule)
                                         if mutant.rule in rules else 0))
    SOURCES.mkdir(parents=True, exist_ok=True)
    copy_sources(options.rev)
    problems = check(mutants, rules, SOURCES)
    if problems:
        raise Problem("\n".join(problems))
    workshop = Workshop(options.jobs)
    workshop.configure()
    baseline(workshop, mutants)
    print("| rule | mutant | test | result | s |\n| --- | --- | --- | --- | --- |", flush=True)
    bad = []
    for mutant in mutants:
        try:
            for test, result, seconds in try_out(workshop, mutant):
                print(f"| {mutant.rule} | {mutant.name} | {test.path} \"{test.title}\" | {result} | {seconds:.0f} |",
                      flush=True)
                if result == RESULTS["passed"]:
                    bad.append(f"{mutant.name} survived {test.path} {test.title!r}")
        except Problem as problem:
            print(f"| {mutant.rule} | {mutant.name} | | ERROR | |", flush=True)
            bad.append(str(problem))
    if not options.names:
        bad += [f"no mutant for {row!r}" for row in missing]
    for line in bad:
        print(line)
    print(f"{len(mutants)} mutants, {len(bad)} problems")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
