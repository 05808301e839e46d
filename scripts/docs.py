#!/usr/bin/python3
"""Writes what is generated in docs/, and says where docs/ and the program differ.

    docs.py                  writes the tables of alerts and of doctor's codes, and the reference of the CRD
    docs.py --check          says what is not up to date or not documented, and which links lead nowhere; part of
                             `make lint`
    docs.py --programs DIR   writes what the programs in DIR print for --help into docs/reference/cli.md

Pages whose shell blocks are run by tests (RUN_PAGES) say of each block, in a comment before it, where it is run, or why
not: `<!-- run: control plane -->`, `<!-- not run: it deletes the cluster -->`. blocks() is what the tests use.
"""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ALERTS = DOCS / "operate" / "alerts"
DOCTOR = DOCS / "operate" / "doctor"
CLI = DOCS / "reference" / "cli.md"
CRD = ROOT / "manifests" / "crd" / "sharding.timebertt.dev_controllerrings.yaml"
RULES = ROOT / "manifests" / "components" / "monitoring" / "prometheus_rule.yaml"
PROGRAMS = ("sharder", "sharderctl")
PLACES = ("make run", "beside make run", "control plane", "kind")  # tests/e2e/test_documents.py, tests/e2e/kind/
RUN_PAGES = ("getting-started/no-cluster.md", "getting-started/kind.md", "migrate.md", "install/remove.md",
             "operate/emergency.md")


def read(path):
    return path.read_text(encoding="utf-8")


# -- shell blocks

@dataclasses.dataclass(frozen=True)
class Block:
    """A shell block of a page. `place`: where it is run; None: `reason` says why not."""
    page: str
    line: int
    place: str | None
    reason: str
    text: str


def blocks(page):
    """[Block] of a page in docs/. One without a mark has neither place nor reason."""
    lines, found, number = read(DOCS / page).splitlines(), [], 0
    while number < len(lines):
        if lines[number].strip() != "```sh":
            number += 1
            continue
        indent = len(lines[number]) - len(lines[number].lstrip())
        mark = re.fullmatch(r"<!-- (not run|run): (.*) -->", lines[number - 1].strip()) if number else None
        begin = number + 1
        number = begin + next(n for n, line in enumerate(lines[begin:]) if line.strip() == "```")
        text = "\n".join(line[indent:] for line in lines[begin:number])
        runs = mark and mark[1] == "run"
        found.append(Block(page, begin, mark[2] if runs else None, mark[2] if mark and not runs else "", text))
    return found


def wrong_marks():
    for page in RUN_PAGES:
        for block in blocks(page):
            if block.place not in (*PLACES, None) or not (block.place or block.reason):
                yield f"docs/{page}:{block.line}: say where this block is run ({', '.join(PLACES)}), or why not"


# -- links

def prose(path):
    """The page without its blocks of code."""
    return re.sub(r"^ *(```|~~~).*?^ *\1 *$", "", read(path), flags=re.MULTILINE | re.DOTALL)


def anchors(path):
    """The anchors that forges make of a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found


def wrong_links():
    """Links of all pages of the repository to files and headings of it that are not there."""
    names = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for page in map(ROOT.joinpath, names.split()):
        for link in re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page))):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if re.match(r"[a-z]+:", link):
                continue
            if not target.exists():
                yield f"{page.relative_to(ROOT)}: a link to {link}, which does not exist"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                yield f"{page.relative_to(ROOT)}: a link to {link}, which has no such heading"


# -- generated parts

def alerts():
    groups = yaml.safe_load(read(RULES))["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def table(head, rows):
    lines = [head, [" --- "] * len(head), *rows]
    return "\n".join("|" + "|".join(cell if cell == " --- " else f" {cell} " for cell in line) + "|" for line in lines)


def alert_table():
    def plain(text):  # of a template
        return re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", re.sub(r"\{\{ \$value \| \w+ \}\}", "…", text))

    return table(["alert", "severity", "summary"],
                 [[f"[{rule['alert']}]({rule['alert']}.md)", rule["labels"]["severity"],
                   plain(rule["annotations"]["summary"])] for rule in alerts()])


def doctor_table():
    return table(["code", "severity", "finding"],
                 [[f"[{code}]({code}.md)", severity, title] for code, (severity, title) in doctor_codes().items()])


def doctor_codes():
    """{code: (severity, finding)}, as ctl/finding.cc has them."""
    pattern = r'CheckFacts\{Check::\w+, "(SHD\d+)",\s*"[\w-]+",\s*Severity::k(\w+),\s*"([^"]+)"\}'
    return {code: (severity.lower(), title) for code, severity, title in
            re.findall(pattern, read(ROOT / "ctl" / "finding.cc"))}


def doctor_pages():
    """The same, as the pages have them."""
    pages = {}
    for path in DOCTOR.glob("SHD*.md"):
        found = re.match(r"# (\w+): (.*)\n\nSeverity: (\w+)\.\n", read(path))
        pages[path.stem] = (found[3], found[2]) if found and found[1] == path.stem else ("", "")
    return pages


def crd_table():
    """A row for each field, in the order of the CRD."""
    schema = yaml.safe_load(read(CRD))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rows = []

    def kind(field):
        if field["type"] == "array":
            return "list of " + kind(field["items"])
        more = field.get("additionalProperties")
        return f"map of {kind(more)}" if more else field.get("format", field["type"])

    def walk(field, path, required):
        if field["type"] == "array" and "properties" in field["items"]:
            field, path = field["items"], path + "[]"
        for name, child in field.get("properties", {}).items():
            own = f"{path}.{name}" if path else name
            if own in ("apiVersion", "kind", "metadata"):
                continue
            needed = "yes" if name in field.get("required", required) else ""
            values = child.get("enum")
            text = child.get("description", "") + (f" One of {', '.join(values)}." if values else "")
            rows.append([f"`{own}`", kind(child), needed, text])
            walk(child, own, [])

    walk(schema, "", [])
    return table(["field", "type", "required", "meaning"], rows)


def help_texts(folder):
    """What the programs in this folder print for --help, and their commands."""
    def help_of(*words):
        done = subprocess.run([folder / words[0], *words[1:], "--help"], check=True, capture_output=True, text=True,
                              timeout=20, env={"COLUMNS": "100"})
        return done.stdout.strip()

    texts = []
    for name in PROGRAMS:
        text = help_of(name)
        texts.append(f"## {name}\n\n```text\n{text}\n```")
        commands = re.search(r"^commands:\n((?:  .*\n)+)", text, re.MULTILINE)
        for command in re.findall(r"^  ([a-z-]+(?: [a-z]+)*)(?![a-z|])", commands[1] if commands else "", re.MULTILINE):
            own = re.split("\n\n.*flags of every command", help_of(name, *command.split()))[0]
            texts.append(f"### {name} {command}\n\n```text\n{own}\n```")
    return "\n\n".join(texts)


def with_part(path, part, text):
    """The file's contents with the text between the comments that name the part."""
    begin, end = f"<!-- {part}: written by scripts/docs.py -->", f"<!-- end of {part} -->"
    before, _, rest = read(path).partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{path}: wants the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def generated():
    """{path: contents}"""
    return {ALERTS / "index.md": with_part(ALERTS / "index.md", "alerts", alert_table()),
            DOCTOR / "index.md": with_part(DOCTOR / "index.md", "doctor", doctor_table()),
            DOCS / "reference" / "crd.md": with_part(DOCS / "reference" / "crd.md", "crd", crd_table())}


# -- what the program has, and what docs/ say of it

def sources(*folders):
    return {path: read(path) for folder in folders for path in sorted((ROOT / folder).glob("**/*.cc"))}


OURS = ("base", "certs", "controllerring", "http", "kube", "membership", "ops", "rebalancer", "ring", "sharder", "webhook")


def first_cells(page):
    """The code in the first cells of a page's tables."""
    return {name for line in read(DOCS / page).splitlines() if line.startswith("| `")
            for name in re.findall(r"`([^`]+)`", line.split("|")[1])}


def config_fields():
    calls = r'\b\w+\.(?:field|text|object|objects)\("(\w+)"|require_text\(\w+, "(\w+)"'
    return {name for path, text in sources("sharder").items() if path.stem.startswith("config")
            for match in re.findall(calls, text) for name in match if name}


def documented_config_fields():
    text = read(DOCS / "reference" / "configuration.md")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    names = set()

    def walk(value):
        for name, child in value.items() if isinstance(value, dict) else ():
            names.add(name)
            walk(child)
        for child in value if isinstance(value, list) else ():
            walk(child)

    walk(yaml.safe_load(example))
    return names, {name for one in first_cells("reference/configuration.md") for name in re.findall(r"\w+", one)}


def event_reasons():
    """Of all Events that the program records: literals, or constants of the same file."""
    reasons = set()
    for text in sources(*OURS).values():
        for given in re.findall(r"EventType::k(?:Warning|Normal),\s*(\"?\w+\"?)", text):
            constant = re.search(rf"\b{given}\b[^=;]*= \"(\w+)\"", text)
            if given.startswith('"') or constant:
                reasons.add(given.strip('"') if given.startswith('"') else constant[1])
        reasons.update(re.findall(r"\.event = \"(\w+)\"", text))  # of a ConditionReporter
    return reasons


def condition_types():
    """`Ready`, and those of ring/names.h, where a condition's constant is called like it."""
    return {"Ready"} | {match[1] for match in re.finditer(r"\bk(\w+) = \"\1\"", read(ROOT / "ring" / "names.h"))}


def metric_names():
    """As they stand in the sources; those that a scrape shows are compared by tests/e2e/test_metrics.py."""
    pattern = r"\"((?:controller_sharding|controller_runtime|certwatcher|rest_client|leader_election|process|workqueue)_\w+)\""
    paths = {path: read(path) for folder in OURS for path in sorted((ROOT / folder).glob("**/*.[ch]*"))}
    return {name for text in paths.values() for name in re.findall(pattern, text)}


def granted():
    """{(resource, verb)} of manifests/ to the sharder's ServiceAccount."""
    found = set()
    files = [ROOT / "manifests/rbac" / f"{name}.yaml" for name in ("role", "leader_election", "metrics_auth")]
    for path in files + sorted((ROOT / "manifests/overlays").glob("*/secret_role.yaml")):
        for item in yaml.safe_load_all(read(path)):
            for rule in item.get("rules", []):
                found |= {(resource, verb) for resource in rule["resources"] for verb in rule["verbs"]}
    return found


def documented_grants():
    found, resource = set(), None
    for line in read(DOCS / "security" / "rbac.md").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and (cells[1].startswith("`") or not cells[1]):
            resource = cells[1].strip("`") or resource
            found |= {(resource, verb) for verb in re.findall(r"[a-z]+", re.sub("`[^`]*`", "", cells[2]))}
    return found


def differences(what, ours, documented):
    yield from (f"{what} {name} is not documented" for name in sorted(ours - documented))
    yield from (f"{what} {name} is documented and does not exist" for name in sorted(documented - ours))


def problems():
    yield from wrong_marks()
    yield from wrong_links()
    pages = {path.stem for path in ALERTS.glob("*.md")} - {"index"}
    yield from differences("alert", {rule["alert"] for rule in alerts()}, pages)
    for rule in alerts():
        wanted = f"operate/alerts/{rule['alert']}.html"
        if rule["annotations"].get("runbook_url") != wanted:
            yield f"{RULES.relative_to(ROOT)}: {rule['alert']} wants the annotation runbook_url: {wanted}"
    codes, described = doctor_codes(), doctor_pages()
    yield from differences("doctor's code", set(codes), set(described))
    yield from (f"docs/operate/doctor/{code}.md: wants the title and the severity of ctl/finding.cc"
                for code in sorted(set(codes) & set(described)) if codes[code] != described[code])
    example, others = documented_config_fields()
    fields = config_fields()
    yield from (f"the configuration's field {name} is not documented" for name in sorted(fields - example - others))
    yield from differences("the reason or condition", event_reasons() | condition_types(),
                           first_cells("reference/events.md"))
    yield from differences("the metric", metric_names(), first_cells("reference/metrics.md"))
    yield from (f"docs/security/rbac.md: {verb} on {resource} is not explained"
                for resource, verb in sorted(granted() - documented_grants()))


def main():
    if "--programs" in sys.argv[1:]:
        folder = Path(sys.argv[sys.argv.index("--programs") + 1])
        CLI.write_text(with_part(CLI, "programs", help_texts(folder)), encoding="utf-8")
        return
    stale = {path: text for path, text in generated().items() if read(path) != text}
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if "--check" in sys.argv[1:]:
        found = [f"not up to date: {names}; run scripts/docs.py"] if stale else []
        found += problems()
        if found:
            sys.exit("\n".join(found))
        print(f"docs: {len(alerts())} alerts, {len(doctor_codes())} codes, {len(metric_names())} metrics, "
              f"{len(event_reasons())} reasons of Events, {len(config_fields())} fields and {len(granted())} permissions are documented")
        return
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    print(f"docs: wrote {names}" if stale else "docs: all was up to date")


if __name__ == "__main__":
    main()
