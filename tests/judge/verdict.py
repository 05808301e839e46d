"""What the judge says: violations, what cannot be decided, what is listed, figures; as text and as JSON."""

import collections
import dataclasses
import json
from dataclasses import dataclass, field

RULES = {
    "J0": "audit logs and journals have all that is needed",
    "J1": "no two reconciliations of an object overlap",
    "J2": "a reconciliation begins only while its shard's label is on the object, and with a state that has that label "
          "and no drain label",
    "J3": "no write of a shard to a main object is accepted while another shard's label is on it",
    "J4": "every main object is reconciled by its last shard after it got that shard's label",
    "J5": "at the end nothing drains, and every object has a live shard",
    "J6": "an acknowledgement is sent only while its shard does not reconcile the object, with a resourceVersion as "
          "precondition",
    "J7": "a reconciliation begins only while its shard's Lease is valid",
    "J8": "a shard's Lease is acquired only when it is free, valid only as long as a renewal carries, and released "
          "only when no reconciliation runs; every write of it has a resourceVersion as precondition",
}


@dataclass(frozen=True)
class Finding:
    """One fact that breaks a rule, or that may. `object`: "secrets ns/name", or "lease name"."""
    rule: str
    object: str
    text: str


@dataclass
class Verdict:
    """`violations`: what breaks a rule. `undecided`: what would, were the audit log known to be whole there; README.md.
    `listed`: what no rule forbids, but somebody should see. `figures`: name -> number or text."""
    violations: list = field(default_factory=list)
    undecided: list = field(default_factory=list)
    listed: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)

    @property
    def ok(self):
        return not self.violations

    def rules(self):
        """The ids of the rules that are broken, in order."""
        return sorted({finding.rule for finding in self.violations})

    def to_json(self):
        return json.dumps({"ok": self.ok, "rules": self.rules(), **dataclasses.asdict(self)}, indent=2)

    def report(self, most=20):
        """For people; `most`: findings of one kind that are shown."""
        lines = []
        by_rule = collections.defaultdict(list)
        for finding in self.violations:
            by_rule[finding.rule].append(finding)
        for rule in sorted(by_rule):
            lines.append(f"{rule} BROKEN {len(by_rule[rule])} times: {RULES[rule]}")
            lines += _some(by_rule[rule], most)
        for title, findings in (("undecided", self.undecided),
                                ("listed, not forbidden", self.listed)):
            if findings:
                lines.append(f"{title}: {len(findings)}")
                lines += _some(findings, most)
        lines.append("figures")
        lines += [f"    {name}: {value}" for name, value in self.figures.items()]
        lines.append("the promise was kept" if self.ok else
                     f"the promise was BROKEN: {len(self.violations)} violations of {', '.join(self.rules())}")
        return "\n".join(lines)


def _some(findings, most):
    lines = [f"    {finding.rule} {finding.object}: {finding.text}" for finding in findings[:most]]
    if len(findings) > most:
        lines.append(f"    and {len(findings) - most} more")
    return lines
