"""The rules that a shard keeps: the table of docs/protocol.md, section 11. A rule's id never gets another meaning."""

from dataclasses import dataclass

# The verdicts about a rule. BROKEN is that of a scene too; of a rule that is advice, it becomes NOT_KEPT.
KEPT, BROKEN, NOT_KEPT, NOT_JUDGED = "kept", "broken", "not kept", "not judged"


@dataclass(frozen=True)
class Rule:
    id: str
    text: str

    @property
    def is_advice(self):
        """A shard should keep it, and need not."""
        return self.text.startswith("Advice: ")


RULES = {rule.id: rule for rule in (
    Rule("S3.1", "The Lease has the ring label, and its name, the shard's name and holderIdentity are the same."),
    Rule("S3.2", "The Lease has acquireTime, renewTime, leaseDurationSeconds and leaseTransitions."),
    Rule("S3.3", "The Lease is renewed before it expires. A renewal changes renewTime and nothing else."),
    Rule("S3.4", "A write of the Lease never overwrites what somebody else has written since the Lease was read."),
    Rule("S3.5", "A Lease that another holds is left alone until it is released or expired. Then the shard may acquire "
                 "it; until then it waits, or has ended."),
    Rule("S3.6", "When the Lease cannot be renewed, no object is written after renewTime + leaseDurationSeconds."),
    Rule("S3.7", "When another holds the Lease, no object is written after the shard's last renewTime + "
                 "leaseDurationSeconds."),
    Rule("S3.8", "When the API server is away for a short time, the shard keeps its Lease and goes on working."),
    Rule("S3.9", "After SIGTERM the Lease is released: holderIdentity becomes empty."),
    Rule("S3.10", "The Lease is released after all reconciliations have ended. No object is written after that."),
    Rule("S3.11", "After SIGTERM the process ends with code 0."),
    Rule("S3.12", "Advice: a Lease that was released, or another's, is acquired without its state label. Then, and when "
                  "the shard has made its Lease, the objects are listed when the sharder has set that label and a retry "
                  "period has passed, not before."),
    Rule("S6.1", "An object with the shard's label is taken up, whenever the label appears."),
    Rule("S6.2", "An object is not written, nor is what it owns, when it has not the shard's label, or not any more."),
    Rule("S6.3", "An object that drains is not taken up."),
    Rule("S6.4", "A drain is acknowledged, whatever the value of the drain label."),
    Rule("S6.5", "One patch acknowledges: it removes the drain label, and removes the shard label or sets it to the "
                 "shard that the drain label names. The value `true`, or an empty one, names none. Nothing else "
                 "changes."),
    Rule("S6.6", "The acknowledgement carries as precondition the resourceVersion at which the drain label was seen."),
    Rule("S6.7", "After a conflict the fresh object counts: one that still drains is acknowledged, another is kept."),
    Rule("S6.8", "An object is acknowledged after its running reconciliation has ended, never before."),
    Rule("S6.9", "After the acknowledgement the object is not written, even when a watch shows an older state of it."),
    Rule("S6.10", "An object that is deleted while it drains does no harm. One that waits for its finalizers is "
                  "acknowledged."),
    Rule("S6.11", "Hundreds of objects that drain at once are all acknowledged."),
    Rule("S6.12", "After a 410 the watch begins anew with a list, and nothing is lost: neither what came, nor what "
                  "changed or went."),
    Rule("S6.13", "A controlled object that somebody deletes is made again."),
    Rule("S6.14", "An object that comes back after its acknowledgement is taken up again."),
)}
