#!/usr/bin/env python3
"""Writes what is generated in charts/sharder: the table of values in README.md, from the comments of values.yaml, and
files/, from manifests/. --check: only says what is not up to date.
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
chart = root / "charts" / "sharder"
copies = {"crd.yaml": "crd/sharding.timebertt.dev_controllerrings.yaml",
          "prometheus_rule.yaml": "components/monitoring/prometheus_rule.yaml",
          **{f"dashboards/{name}.json": f"components/monitoring/dashboards/{name}.json"
             for name in ("rings", "webhook", "replicas")}}
BEGIN, END = "<!-- values: written by scripts/chart.py -->", "<!-- end of values -->"


def values(text):
    """[(path, default, description)] of all values that have a comment "# --". Exits when one has none."""
    rows, parents, comment = [], [], None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            begins = stripped.startswith("# -- ")
            if begins:
                comment = stripped[len("# -- "):]
            elif comment is not None:
                comment += " " + stripped[1:].strip()
            continue
        match = re.fullmatch(r"( *)([\w.-]+):(?: (.*))?", line)
        if not match:
            comment = None
            continue
        indent, key, default = len(match[1]), match[2], match[3]
        while parents and parents[-1][0] >= indent:
            parents.pop()
        path = ".".join([name for _, name, _ in parents] + [key])
        described = any(parent[2] for parent in parents)
        if comment is None and default is not None and not described:
            sys.exit(f"charts/sharder/values.yaml:{number}: {path} has no comment that begins with \"# --\"")
        if comment is not None:
            rows.append((path, default if default is not None else "see values.yaml", comment))
        parents.append((indent, key, comment is not None))
        comment = None
    return rows


def table(rows):
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, default, text in rows:
        shown = default if default == "see values.yaml" else f"`{default}`"
        lines.append(f"| `{path}` | {shown} | {text} |")
    return "\n".join(lines)


def readme():
    text = (chart / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"charts/sharder/README.md: wants the lines {BEGIN!r} and {END!r}")
    rows = values((chart / "values.yaml").read_text(encoding="utf-8"))
    return f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}"


def main():
    wanted = {chart / "README.md": readme()}
    for name, source in copies.items():
        text = (root / "manifests" / source).read_text(encoding="utf-8")
        said = f"# A copy of manifests/{source}, written by scripts/chart.py.\n" if name.endswith(".yaml") else ""
        wanted[chart / "files" / name] = said + text
    stale = [path for path, text in wanted.items()
             if not path.exists() or path.read_text(encoding="utf-8") != text]
    names = ", ".join(str(path.relative_to(root)) for path in stale)
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"not up to date: {names}; run scripts/chart.py")
        print(f"chart: {len(wanted)} generated files are up to date")
        return
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    print(f"chart: wrote {names}" if stale else "chart: all was up to date")


if __name__ == "__main__":
    main()
