"""The rules that a shard keeps: the table of docs/protocol.md, section 11. A rule's id never gets another meaning."""

from dataclasses import dataclass

# The verdicts about a rule.
KEPT, BROKEN, NOT_JUDGED = "kept", "broken", "not judged"


@dataclass(frozen=True)
class Rule:
    id: str
    text: str


RULES = {rule.id: rule for rule in (
    Rule("S3.1", "The Lease has the ring label, and its name, the shard's name and holderIdentity are the same."),
    Rule("S3.2", "The Lease has acquireTime, renewTime, leaseDurationSeconds and leaseTransitions."),
    Rule("S3.3", "The Lease is renewed before it expires; a renewal changes renewTime and nothing else."),
    Rule("S3.4", "A write of the Lease never overwrites what somebody else has written since it was read."),
    Rule("S3.5", "A Lease that another holds is left alone until it is released or expired, and may be acquired then."),
    Rule("S3.6", "While the Lease cannot be renewed, no object is written after renewTime + leaseDurationSeconds."),
    Rule("S3.7", "When another holds the Lease, no object is written after the shard's last renewTime + "
                 "leaseDurationSeconds."),
    Rule("S3.8", "The API server is away for a short time: the shard keeps its Lease, and goes on working."),
    Rule("S3.9", "After SIGTERM the Lease is released: holderIdentity is empty."),
    Rule("S3.10", "It is released when all reconciliations have ended, and no object is written after that."),
    Rule("S3.11", "After SIGTERM the process ends with code 0."),
    Rule("S6.1", "Objects with the shard's label are taken up, whenever the label appears."),
    Rule("S6.2", "An object without the shard's label is not written, nor what it owns, from when the label went."),
    Rule("S6.3", "An object that drains is not taken up."),
    Rule("S6.4", "A drain is acknowledged, whatever the drain label's value."),
    Rule("S6.5", "One patch acknowledges: it removes the drain label, removes the shard label or sets it to the shard "
                 "that the drain label names, and changes nothing else."),
    Rule("S6.6", "The acknowledgement has the resourceVersion at which the drain label was seen as precondition."),
    Rule("S6.7", "After a conflict the fresh object counts: what still drains is acknowledged, what does not is kept."),
    Rule("S6.8", "The acknowledgement comes when the object's running reconciliation has ended, never before."),
    Rule("S6.9", "After the acknowledgement the object is not written, also when a watch shows how it was before."),
    Rule("S6.10", "An object that is deleted while it drains stops nothing, and one that waits for its finalizers "
                  "is acknowledged."),
    Rule("S6.11", "Hundreds of objects that drain at once are all acknowledged."),
    Rule("S6.12", "When the watch's history has expired (410), nothing is lost: what came, changed or went meanwhile."),
    Rule("S6.13", "A controlled object that somebody deletes is made again."),
    Rule("S6.14", "An object that comes back after its acknowledgement is taken up again."),
)}
