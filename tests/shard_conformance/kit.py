"""The program: options, the order of the scenes, the report."""

import argparse
import collections
import concurrent.futures
import json
import shutil
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import cell as cells
from kubeclient import ApiError
from processes import Failed, install_signal_handlers, kill_all
from rules import BROKEN, KEPT, NOT_JUDGED, NOT_KEPT, RULES
from scenes import SCENES
from survey import NotStarted, survey

ALL_KEPT, SOME_BROKEN, USAGE, NOT_STARTED, KIT_FAILED = range(5)

USAGE_TEXT = "sharder-conformance [OPTIONS] -- COMMAND..."
EPILOG = """COMMAND starts one shard, in the foreground. It may have {ring}, {shard}, {namespace}, {lease-namespace},
{kubeconfig} and {port} (a free port, another one each time). Its environment has KUBECONFIG, SHARDER_RING,
SHARDER_SHARD, SHARDER_NAMESPACE and SHARDER_LEASE_NAMESPACE.

Ends with 0 when no rule is broken, 1 when one is, 2 for wrong options, 3 when the shard could not be started, 4 when
the kit itself failed. README.md has more."""


def parse(arguments):
    parser = argparse.ArgumentParser(prog="sharder-conformance", usage=USAGE_TEXT, epilog=EPILOG,
                                     description="Says which rules of the sharding protocol a shard keeps.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--main", default="secrets", help="the ring's main resource: secrets, deployments.apps")
    parser.add_argument("--controlled", default="configmaps", help="what its objects own; '' for nothing")
    parser.add_argument("--template", type=Path, help="a YAML file: a main object, with {name} and {value} in it")
    parser.add_argument("--crd", type=Path, action="append", default=[], help="a CustomResourceDefinition to have")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for what the shard has to do soon")
    parser.add_argument("--lease-seconds", type=int, help="what leaseDurationSeconds has to be")
    parser.add_argument("--parallel", type=int, default=5, help="scenes at the same time, each with a control plane")
    parser.add_argument("--only", action="append", default=[], metavar="RULE", help="judge this rule; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the rules")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of scenes in which a rule is broken")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.command[:1] == ["--"]:
        options.command = options.command[1:]
    if options.list:
        return options
    if not options.command:
        parser.error("COMMAND is missing")
    for rule in options.only:
        if rule not in RULES:
            parser.error(f"no rule {rule}: --list has them")
    options.template = _template(parser, options)
    for file in options.crd:
        if not file.is_file():
            parser.error(f"--crd: no file {file}")
    return options


def _template(parser, options):
    try:
        text = options.template.read_text(encoding="utf-8") if options.template else cells.TEMPLATES.get(options.main)
        if text is None:
            parser.error(f"--template is needed for {options.main}")
        return cells.Template(text)
    except (OSError, ValueError, cells.yaml.YAMLError) as error:
        return parser.error(f"--template: {error}")


class Report:
    """All verdicts. Safe from any thread."""

    def __init__(self, rules):
        self._rules = rules
        self._lock = threading.Lock()
        self._verdicts = collections.defaultdict(list)  # rule -> [(scene, verdict, expected, seen)]
        self.failures = []  # of the kit: (scene, what)

    def add(self, scene, rules, verdicts, ended=""):
        """`ended`: why the scene ended early."""
        with self._lock:
            for rule in rules:
                for verdict in verdicts.get(rule) or [(NOT_JUDGED, "", ended or "the scene did not come to it")]:
                    self._verdicts[rule].append((scene, *verdict))

    def fail(self, scene, what):
        with self._lock:
            self.failures.append((scene, what))

    def of(self, rule):
        """(verdict, [(scene, expected, seen)])."""
        for verdict in (BROKEN, KEPT, NOT_JUDGED):
            found = [(scene, expected, seen) for scene, what, expected, seen in self._verdicts[rule] if what == verdict]
            if found:
                return NOT_KEPT if verdict == BROKEN and RULES[rule].is_advice else verdict, found
        return NOT_JUDGED, [("", "", "no scene judged it")]

    def broken(self):
        return [rule for rule in self._rules if self.of(rule)[0] == BROKEN]

    def text(self):
        lines = []
        for rule in self._rules:
            verdict, found = self.of(rule)
            lines.append(f"{verdict.upper() if verdict == BROKEN else verdict:<11} {rule:<6} {RULES[rule].text}")
            if verdict == KEPT:
                continue
            for scene, expected, seen in list(dict.fromkeys(found))[:3]:
                lines.append(f"{'':<18} in the scene: {scene}" if scene else "")
                if expected:
                    lines.append(f"{'':<20} expected: {expected}")
                lines += [f"{'':<20} {'seen:     ' if expected else ''}{seen}".replace("\n", f"\n{'':<22}")]
        for scene, what in self.failures:
            lines.append(f"the kit failed in the scene: {scene}\n{what}")
        counts = collections.Counter(self.of(rule)[0] for rule in self._rules)
        lines.append(f"{len(self._rules)} rules: " +
                     ", ".join(f"{counts[verdict]} {verdict}" for verdict in (KEPT, BROKEN, NOT_KEPT, NOT_JUDGED)))
        return "\n".join(lines)

    def json(self):
        rules = []
        for rule in self._rules:
            verdict, found = self.of(rule)
            rules.append({"id": rule, "text": RULES[rule].text, "verdict": verdict, "details": [
                {"scene": scene, "expected": expected, "seen": seen} for scene, expected, seen in found if seen]})
        return {"rules": rules, "failures": [{"scene": scene, "what": what} for scene, what in self.failures]}


class Run:
    """One run of the kit."""

    def __init__(self, options):
        self._options = options
        self._rules = [rule for rule in RULES if not options.only or rule in options.only]
        self.report = Report(self._rules)
        self.profile = None
        self.logs = options.logs

    def run(self):
        began = time.monotonic()
        self._play("the shard is started, and gets an object", ("S3.1", "S6.1"), self._survey)
        if self.profile is not None:
            scenes = sorted((scene for scene in SCENES if set(scene.rules) & set(self._rules)),
                            key=lambda scene: -scene.seconds)
            with concurrent.futures.ThreadPoolExecutor(self._options.parallel) as pool:
                list(pool.map(lambda scene: self._play(scene.title, scene.rules, scene.run), scenes))
        else:
            self.report.add("", self._rules, {}, "the first scene ended early")
        return time.monotonic() - began

    def _survey(self, cell):
        self.profile = survey(cell)
        wanted = self._options.lease_seconds
        if wanted is not None:
            cell.check("S3.2", self.profile.duration == wanted, f"leaseDurationSeconds {wanted}", self.profile.duration)

    def _play(self, title, rules, run):
        began = time.monotonic()
        ended = ""
        cell = None
        try:
            with cells.Cell(self._options, title, self.profile) as cell:
                try:
                    run(cell)
                except cells.SceneOver as over:
                    ended = str(over)
                finally:
                    self._keep_logs(title, cell, ended)
        except (NotStarted, cells.NoResource):
            raise
        except (Failed, ApiError, OSError, LookupError, AssertionError, ValueError, TypeError, AttributeError) as error:
            self.report.fail(title, "".join(traceback.format_exception(error)))
            ended = f"the kit failed: {error}"
        verdicts = cell.verdicts if cell is not None else {}
        wanted = [rule for rule in dict.fromkeys([*rules, *verdicts]) if rule in self._rules]
        self.report.add(title, wanted, verdicts, ended)
        if not self._options.json:
            worst = [rule for rule in verdicts if any(verdict == BROKEN for verdict, _, _ in verdicts[rule])]
            outcome = f"not kept: {', '.join(sorted(worst))}" if worst else f"ended early: {ended}" if ended else "done"
            print(f"  {title}: {outcome} ({time.monotonic() - began:.0f} s)".partition("\n")[0], flush=True)

    def _keep_logs(self, title, cell, ended):
        if not ended and not any(verdict == BROKEN for found in cell.verdicts.values() for verdict, _, _ in found):
            return
        self.logs = self.logs or Path(tempfile.mkdtemp(prefix="sharder-conformance-"))
        folder = self.logs / "".join(letter if letter.isalnum() else "-" for letter in title)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in cell.logs().items():
            (folder / name).write_text(text, encoding="utf-8")


def main(arguments=None):
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.list:
        for rule in RULES.values():
            print(f"{rule.id:<6} {rule.text}")
        sys.exit(ALL_KEPT)
    install_signal_handlers()
    run = Run(options)
    code = _run(run, options)
    kill_all()
    sys.exit(code)


def _run(run, options):
    if shutil.which(options.command[0]) is None:
        print(f"sharder-conformance: the shard could not be started: no program {options.command[0]}", file=sys.stderr)
        return NOT_STARTED
    try:
        seconds = run.run()
    except NotStarted as reason:
        print(f"sharder-conformance: the shard could not be started: {reason}", file=sys.stderr)
        return NOT_STARTED
    except cells.NoResource as reason:
        print(f"sharder-conformance: {reason}", file=sys.stderr)
        return USAGE
    if options.json:
        report = {"command": options.command, "seconds": round(seconds, 1), **run.report.json(),
                  "logs": run.logs and str(run.logs)}
        print(json.dumps(report, indent=2))
    else:
        print(f"\n{run.report.text()}; {seconds:.0f} s")
        if run.logs and run.logs.is_dir():
            print(f"logs: {run.logs}")
    if run.report.failures:
        return KIT_FAILED
    return SOME_BROKEN if run.report.broken() else ALL_KEPT

