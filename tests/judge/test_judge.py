#!/usr/bin/python3
"""The judge on histories that are written here: for each rule the smallest one that breaks it, and the nearest one that
does not."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from judge import Judge  # pylint: disable=wrong-import-position
from story import BEGIN, DRAIN_LABEL, RING, SHARD_LABEL, Story  # pylint: disable=wrong-import-position
from suite import Suite  # pylint: disable=wrong-import-position

suite = Suite("judge", parallel=False)


def started():
    """Two shards with Leases until 18 and 18.1; a has the Secret x since 1 and has reconciled it."""
    story = Story()
    story.hold("a", 0, 8)
    story.hold("b", 0.1, 8.1)
    story.create("x", "a", 1)
    story.reconcile("a", "x", 1.1, 1.2)
    return story


def moved(acknowledged=3.0):
    """And b has it since then."""
    story = started()
    story.drain("x", "b", 2)
    story.acknowledge("x", "a", acknowledged, target="b")
    story.reconcile("b", "x", acknowledged + 0.1, acknowledged + 0.2)
    return story


def broken(story, *rules, at=9, **options):
    """The verdict, which names exactly these rules."""
    verdict = story.verdict(at, **options)
    assert verdict.rules() == sorted(rules), f"{verdict.rules()}, not {rules}\n{verdict.report()}"
    return verdict


def kept(story, at=9, **options):
    return broken(story, at=at, **options)


# -- J1


@suite.case("two shards that reconcile an object one after the other keep the promise")
def one_after_the_other(_):
    verdict = kept(moved())
    for name, expected in {"moves, main": 1, "drains, with target": 1, "acknowledgements with target": 1,
                           "reconciliations": 2, "main objects seen first": 1}.items():
        assert verdict.figures[name] == expected, (name, verdict.figures)


def taken(end):
    """Somebody gives x to b by hand, while a reconciles it."""
    story = started()
    number = story.begin("a", "x", 2)
    story.reassign("x", "b", 3, by="user")
    story.reconcile("b", "x", 3.1, 3.2)
    story.end("a", number, end)
    return story


@suite.case("J1: a reconciliation that begins before another shard's has ended")
def overlap(_):
    kept(taken(3.1))
    broken(taken(3.100004), "J1")


@suite.case("J1: a violation names the object, both shards and both times")
def overlap_is_described(_):
    finding, = broken(taken(3.15), "J1").violations
    assert finding.object == "secrets ns/x", finding
    for part in ("a from", ":22.000000", ":23.150000", "b from", ":23.100000", ":23.200000", "a.jsonl", "b.jsonl",
                 "0.050 s"):
        assert part in finding.text, (part, finding.text)


def frozen(takes_over, reconciles, says=None):
    """a freezes during a reconciliation, and its Lease was valid until 18. It is taken over; then b has the object."""
    story = started()
    number = story.begin("a", "x", 9)
    story.note("frozen", "a", 9.1)
    story.lease_write("a", "sharder", takes_over, "shardlease-controller", duration=30)
    story.hold("b", takes_over)
    story.reassign("x", "b", takes_over + 0.1)
    story.reconcile("b", "x", *reconciles)
    story.note("thawed", "a", reconciles[1] + 5)
    if says is not None:
        story.line("a", "lease", says, validUntil=0)
    story.end("a", number, reconciles[1] + 5)
    return story


@suite.case("J1: an interval counts until its Lease ends: another shard may begin then, and no microsecond earlier")
def overlap_until_valid_until(_):
    kept(frozen(takes_over=17.8, reconciles=(18.0, 18.5)), at=19)
    broken(frozen(takes_over=17.5, reconciles=(17.99, 18.5)), "J1", at=19)


@suite.case("J1: that a Lease was lost or released early ends no interval")
def overlap_with_a_release(_):
    story = frozen(takes_over=10, reconciles=(10.5, 11), says=9.5)
    broken(story, "J1", at=11)


@suite.case("J1: a renewal during a reconciliation makes it count for longer")
def overlap_after_a_renewal(_):
    story = frozen(takes_over=19, reconciles=(20, 20.5))
    kept(story, at=21)
    story = started()
    number = story.begin("a", "x", 9)
    story.hold("a", 12)
    story.lease_write("a", "sharder", 19, "shardlease-controller", duration=30)
    story.hold("b", 19)
    story.reassign("x", "b", 19.1)
    story.reconcile("b", "x", 20, 20.5)
    story.end("a", number, 25)
    broken(story, "J1", at=21)


@suite.case("J1: an interval without an end counts until the kill, or until its Lease ends")
def overlap_after_a_kill(_):
    def killed(when):
        story = started()
        story.begin("a", "x", 9)
        if when is not None:
            story.note("killed", "a", when)
        story.lease_write("a", "sharder", 12, "shardlease-controller", duration=30)
        story.hold("b", 12)
        story.reassign("x", "b", 12.1)
        story.reconcile("b", "x", 12.5, 13)
        return story

    kept(killed(12.4), at=14)
    broken(killed(12.6), "J1", at=14)
    broken(killed(None), "J1", at=14)


@suite.case("J1: two workers of one shard reconcile an object at the same time")
def overlap_in_a_shard(_):
    for begin, rules in ((2.5, ["J1"]), (3.0, [])):
        story = started()
        first = story.begin("a", "x", 2)
        second = story.begin("a", "x", begin)
        story.end("a", first, 3)
        story.end("a", second, 4)
        broken(story, *rules)


@suite.case("J1: a shard that is started anew is another process, whose predecessor was killed")
def overlap_of_processes(_):
    def restarted(killed, begins):
        story = started()
        story.begin("a", "x", 8.5)
        story.note("killed", "a", killed)
        story.hold("a-2", killed + 0.1)
        story.reconcile("a-2", "x", begins, begins + 0.5)
        return story

    kept(restarted(9, 9.5), at=10.5)
    story = restarted(9, 9.5)
    story.lines["test"].clear()  # nobody has killed it
    broken(story, "J1", at=10.5)


# -- J2


@suite.case("J2: a begin under the label of the shard to which it was let go")
def begin_under_another_label(_):
    story = moved()
    story.reconcile("a", "x", 3.05, 3.06, version=105)
    finding, = broken(story, "J2").violations
    assert "began when it has shard label 'b' (version 107), written by a" in finding.text, finding


@suite.case("J2: a label that the sharder writes counts from when it is done")
def begin_while_a_write_is_under_way(_):
    def reassigned(begin):
        """A shard whose Lease is valid has its object taken away."""
        story = started()
        story.reassign("x", "b", 3, took=0.5)
        story.reconcile("a", "x", begin, begin + 0.01, version=105)
        story.reconcile("b", "x", 4, 4.1)
        return story

    assert reassigned(3.4).objects["secrets", "x"]["resourceVersion"] == "106"
    verdict = kept(reassigned(3.4))
    assert [finding.rule for finding in verdict.listed] == ["taken"], verdict.report()
    kept(reassigned(3.5))
    broken(reassigned(3.51), "J2")


@suite.case("J2: when the label comes back meanwhile, a begin is right as soon as that write has begun")
def begin_when_it_comes_back(_):
    def back(begin):
        story = moved()
        story.drain("x", "a", 4)
        version = story.acknowledge("x", "b", 5, target="a", took=0.5)
        story.reconcile("a", "x", begin, begin + 0.1, version)
        return story

    kept(back(5.001))  # the API server had committed it, though the answer was not finished
    broken(back(4.99), "J2")


@suite.case("J2: a state with a drain label, or of before an acknowledgement, is reconciled")
def begin_with_an_old_state(_):
    story = started()
    story.drain("x", "b", 2)
    story.reconcile("a", "x", 2.1, 2.2)  # with the newest version, which has the drain label
    story.acknowledge("x", "a", 3, target="b")
    story.reconcile("b", "x", 3.1, 3.2)
    verdict = broken(story, "J2")
    assert "drain label 'b'" in verdict.violations[0].text, verdict.report()

    story = started()
    story.drain("x", "b", 2)
    story.reconcile("a", "x", 2.1, 2.2, version=105)  # the drain label is under way to the shard
    story.acknowledge("x", "a", 3, target="b")
    story.reconcile("b", "x", 3.1, 3.2)
    kept(story)


@suite.case("J2: a shard that let go does not begin before it gets the object back, even when nobody else has it")
def begin_after_letting_go(_):
    def let_go(by):
        story = started()
        story.drain("x", "true", 2)
        story.patch("x", by, 3, {SHARD_LABEL: None, DRAIN_LABEL: None})
        story.reconcile("a", "x", 3.5, 3.6, version=105)
        story.reassign("x", "b", 4)
        story.reconcile("b", "x", 4.1, 4.2)
        return story

    broken(let_go("a"), "J2")
    kept(let_go("user"))  # a label that somebody has taken away says nothing about another shard


@suite.case("J2: without a valid Lease, J7 and not J2 says what is wrong")
def begin_without_a_lease(_):
    story = frozen(takes_over=19, reconciles=(20, 20.5))
    story.reconcile("a", "x", 21, 21.1, version=105)
    broken(story, "J7", at=22)


@suite.case("J2: when a request of unknown outcome may have given the object back, nothing is decided")
def begin_is_undecided(_):
    story = started()
    story.reassign("x", "b", 3)
    story.reconcile("b", "x", 3.1, 3.2)
    story.reassign("x", "a", 4, took=None)  # the API server was killed meanwhile
    story.objects["secrets", "x"]["labels"][SHARD_LABEL] = "a"
    story.reconcile("a", "x", 5, 5.1)
    verdict = kept(story)
    assert {finding.rule for finding in verdict.undecided} == {"J0", "J2"}, verdict.report()
    broken_story = started()
    broken_story.reassign("x", "b", 3)
    broken_story.reconcile("b", "x", 3.1, 3.2)
    broken_story.reconcile("a", "x", 5, 5.1, version=105)
    broken(broken_story, "J2")


# -- J3


@suite.case("J3: a write of a shard is accepted under another shard's label")
def write_under_another_label(_):
    def wrote(by, resource="secrets"):
        story = moved()
        if resource != "secrets":
            story.create("y", "b", 4, resource=resource)
        story.patch("x" if resource == "secrets" else "y", by, 5, {"note": "1"}, precondition=False, resource=resource)
        story.reconcile("b", "x", 5.1, 5.2)
        return story

    verdict = broken(wrote("a"), "J3")
    assert "a patch of a" in verdict.violations[0].text, verdict.report()
    kept(wrote("b"))
    kept(wrote("user"))
    kept(wrote("a", "configmaps"))  # J3 is about main objects


@suite.case("J3: the order is that of the versions, not of the times")
def write_in_flight(_):
    story = moved()
    version = story.patch("x", "b", 3.05, {"note": "1"}, took=2)  # is committed before b lets go, answered after it
    story.drain("x", "a", 3.5)
    story.acknowledge("x", "b", 4, target="a")
    story.reconcile("a", "x", 4.1, 4.2)
    assert version < int(story.objects["secrets", "x"]["resourceVersion"])
    kept(story)


@suite.case("J3: a write that was rejected, a deletion, and an object that was made anew")
def write_rejected(_):
    story = moved()
    story.patch("x", "a", 5, {"note": "1"}, precondition=105, code=409)
    kept(story)
    story.delete("x", "a", 6)
    story.create("x", "b", 7)
    story.reconcile("b", "x", 7.1, 7.2)
    broken(story, "J3")
    story = moved()
    story.delete("x", "b", 6)
    story.create("x", "a", 7, by="b")
    story.reconcile("a", "x", 7.1, 7.2)
    kept(story)


@suite.case("J3: an acknowledgement of what belongs to another shard already")
def acknowledged_late(_):
    story = moved()
    story.drain("x", "a", 4)
    story.acknowledge("x", "a", 5, target="a")
    story.reconcile("a", "x", 5.1, 5.2)
    broken(story, "J3")


# -- J4


@suite.case("J4: an object that its last shard never reconciled after it got it")
def forgotten(_):
    def last(version):
        story = started()
        story.create("y", "b", 1)
        story.reconcile("b", "y", 1.2, 1.3)
        story.drain("x", "b", 2)
        story.acknowledge("x", "a", 3, target="b")
        if version:
            story.reconcile("b", "x", 3.1, 3.2, story.version)
        return story

    verdict = broken(last(False), "J4")
    assert verdict.violations[0].object == "secrets ns/x", verdict.report()
    kept(last(True))
    story = last(False)
    story.begin("b", "x", 4)  # it has begun, and not ended
    broken(story, "J4")


@suite.case("J4: an object that came back to a shard that had reconciled it earlier")
def forgotten_when_it_came_back(_):
    story = moved()
    story.drain("x", "a", 4)
    story.acknowledge("x", "b", 5, target="a")
    broken(story, "J4")
    story.reconcile("a", "x", 5.1, 5.2)
    kept(story)


@suite.case("J4: with newest, the newest state that somebody else has written was reconciled")
def forgotten_newest(_):
    story = moved()
    story.patch("x", "user", 4, {"note": "1"})
    kept(story)
    broken(story, "J4", newest=True)
    story.reconcile("b", "x", 4.1, 4.2)
    story.patch("x", "b", 4.3, {"note": "2"})  # what the shard writes itself it need not reconcile
    kept(story, newest=True)


# -- J5


@suite.case("J5: an object that drains still, or has no live shard")
def unsettled(_):
    story = moved()
    story.drain("x", "a", 4)
    broken(story, "J5")
    story = moved()
    kept(story, live=["b"])
    broken(story, "J5", live=["a"])
    kept(story, at=23)  # the Lease of b has not expired
    broken(story, "J5", at=23.2)


@suite.case("J5: an object that nobody gave a shard")
def unassigned(_):
    story = moved()
    story.create("y", "", 4)
    broken(story, "J5")
    broken(story, "J5", at=None)  # by the audit log alone, too
    story.reassign("y", "b", 5)
    story.reconcile("b", "y", 5.1, 5.2)
    kept(story)


@suite.case("J5: controlled objects count as well")
def unassigned_controlled(_):
    story = moved()
    story.create("y", "c", 4, resource="configmaps")
    broken(story, "J5")
    story.reassign("y", "b", 5, resource="configmaps")
    kept(story)


# -- J6


@suite.case("J6: an acknowledgement during a reconciliation")
def acknowledged_early(_):
    def acknowledged(end, code=200):
        story = started()
        number = story.begin("a", "x", 1.9)
        story.drain("x", "b", 2)
        if end < 3:
            story.end("a", number, end)
        story.acknowledge("x", "a", 3, target="b", code=code)
        if end >= 3:
            story.end("a", number, end)
        if code >= 300:
            story.acknowledge("x", "a", 3.05, target="b")
        story.reconcile("b", "x", 3.1, 3.2)
        return story

    verdict = broken(acknowledged(3.01), "J6")
    assert "during a from" in verdict.violations[0].text, verdict.report()
    kept(acknowledged(2.999))
    broken(acknowledged(3.01, code=409), "J6")  # it was sent, though it was rejected
    kept(acknowledged(2.999, code=409))


@suite.case("J6: an acknowledgement without a resourceVersion")
def acknowledged_without_precondition(_):
    for verb in ("patch", "update"):
        for precondition, rules in ((None, ["J6"]), (True, [])):
            story = started()
            story.drain("x", "b", 2)
            story.acknowledge("x", "a", 3, target="b", precondition=precondition, verb=verb)
            story.reconcile("b", "x", 3.1, 3.2)
            broken(story, *rules)


@suite.case("J6: an object that comes back at once is reconciled before the audit log notes the end of the patch")
def acknowledged_and_back(_):
    story = started()
    story.drain("x", "true", 2)
    story.acknowledge("x", "a", 3, then="a", took=0.5)  # the webhook chose a again
    story.reconcile("a", "x", 3.4, 3.6)
    verdict = kept(story)
    assert verdict.figures["acknowledgements without target"] == 1, verdict.figures
    story = started()
    story.drain("x", "true", 2)
    story.acknowledge("x", "a", 3, then="a", took=0.5)
    story.reconcile("a", "x", 3.4, 3.6, version=105)
    story.reconcile("a", "x", 3.7, 3.8)
    broken(story, "J6")


# -- J7


@suite.case("J7: a begin without a valid Lease")
def begin_after_the_lease(_):
    def late(begin):
        story = started()
        story.reconcile("a", "x", begin, begin + 0.1)
        return story

    kept(late(17.9))
    kept(late(18.19))  # within the tolerance
    broken(late(18.21), "J7")
    story = late(0.01)  # the line about the Lease comes at 0.02
    story.lines["a"][-1]["resourceVersion"] = "105"
    kept(story)


@suite.case("J7: a shard that says itself that its Lease is lost begins nothing any more")
def begin_after_a_loss(_):
    for begin, rules in ((9.1, []), (9.3, ["J7"])):
        story = started()
        story.line("a", "lease", 9, validUntil=0)
        story.reconcile("a", "x", begin, begin + 0.1)
        broken(story, *rules, at=10)


@suite.case("J7: a begin just when a frozen process goes on is listed; a later one is not excused")
def begin_after_a_thaw(_):
    def thawed(begin):
        story = frozen(takes_over=40, reconciles=(41, 42))  # thawed at 47
        story.reconcile("a", "x", begin, begin + 0.1, version=105)
        return story

    verdict = kept(thawed(47.5), at=48)
    assert [finding.rule for finding in verdict.listed] == ["thawed"], verdict.report()
    assert verdict.figures["faults: frozen"] == 1, verdict.figures
    broken(thawed(48.1), "J7", at=49)


@suite.case("J7: a begin after the shard has released its Lease, whatever its journal says")
def begin_after_a_release(_):
    for begin, rules in ((8.9, []), (9.1, ["J7"])):
        story = started()
        story.create("y", "b", 1)
        story.reconcile("b", "y", 1.1, 1.2)
        if begin < 9:
            story.reconcile("a", "x", begin, begin + 0.05)
        story.release("a", 9, says=False)
        if begin > 9:
            story.reconcile("a", "x", begin, begin + 0.05)
        story.reassign("x", "b", 9.5)
        story.reconcile("b", "x", 9.6, 9.7)
        broken(story, *rules, at=10)


# -- J8


@suite.case("J8: a Lease is acquired or renewed while somebody else holds it")
def lease_of_somebody_else(_):
    def again(when):
        story = frozen(takes_over=40, reconciles=(41, 42))
        story.note("killed", "a", 47)
        story.hold("a-2", when)
        story.hold("b", when)
        return story

    kept(again(70.1), at=71)  # the sharder holds it for 30 s
    broken(again(69.9), "J8", at=71)


@suite.case("J8: a write of a Lease without a resourceVersion, or of another shard's Lease")
def lease_without_precondition(_):
    story = moved()
    story.lease_write("b", "b", 8.5, "b", precondition=False)
    broken(story, "J8")
    story = moved()
    story.lease_write("b", "a", 8.5, "b")
    broken(story, "J8")
    story = moved()
    story.lease_write("b", "sharder", 8.5, "b")  # it sets the state label
    kept(story)


@suite.case("J8: a Lease that is released while reconciliations run")
def lease_released_early(_):
    for end, rules in ((8.999, []), (9.001, ["J8"])):
        story = started()
        number = story.begin("a", "x", 8.5)
        story.end("a", number, end)
        story.release("a", 9)
        story.reassign("x", "b", 9.1)
        story.reconcile("b", "x", 9.2, 9.3)
        broken(story, *rules, at=10)


@suite.case("J8: a renewal that may have been carried out, though its answer was an error, decides nothing")
def lease_carried_perhaps(_):
    def claimed(failed):
        story = moved()
        story.event("update", "leases", "a", "a", failed, code=504, group="coordination.k8s.io")
        story.line("a", "lease", 20, validUntil=story.lines["a"][0]["time"] + 29)  # 29.02
        return story

    verdict = kept(claimed(14.5))
    assert [finding.rule for finding in verdict.undecided] == ["J8"], verdict.report()
    broken(claimed(14), "J8")


@suite.case("J8: a journal that says more than was renewed")
def lease_not_carried(_):
    for valid_for, rules in ((15, []), (15.001, ["J8"])):
        story = moved()
        story.hold("b", 8.5, valid_for=valid_for)
        broken(story, *rules)
    story = moved()
    story.lease_write("a", "sharder", 8.9, "shardlease-controller", duration=30)
    story.line("a", "lease", 30, validUntil=story.lines["a"][0]["time"] + 40)
    broken(story, "J8")


# -- J0


@suite.case("J0: inputs that do not suffice are no kept promise")
def inputs(_):
    story = moved()
    story.audit = [event for event in story.audit if event["objectRef"]["resource"] != "secrets"]
    broken(story, "J0")
    story = moved()
    story.lines = {file: [line for line in lines if line["event"] != "lease"] for file, lines in story.lines.items()}
    broken(story, "J0")
    story = moved()
    for event in story.audit:
        event["user"]["username"] = "admin"
    assert "J0" in story.verdict(9).rules()
    story = moved()
    for event in story.audit:
        event.pop("responseObject", None)
    assert "J0" in story.verdict(9).rules()
    story = moved()
    del story.audit[5]  # the drain, whose version the acknowledgement carries
    verdict = broken(story, "J0")
    assert "no audit log shows version 106" in verdict.violations[0].text, verdict.report()
    story = moved()
    story.reconcile("b", "x", 5, 5.1, version=story.version + 1)
    assert "J0" in story.verdict(9).rules()
    story = moved()
    story.line("b", "end", 6, id=17)
    broken(story, "J0")


@suite.case("shards are known by their user or by a word of their user agent")
def identities(_):
    for user, agent, by in (("admin", "python-shard/1 (a)", "a"), ("a", "x", "a"), ("admin", "aa/1", "admin (aa/1)")):
        story = moved()
        for event in story.audit:
            if event["user"]["username"].endswith(":a"):
                event["user"]["username"], event["userAgent"] = user, agent
        verdict = story.verdict(9)
        assert verdict.ok == (by == "a"), verdict.report()


# -- what is listed, figures, the program


@suite.case("writes of a shard without a valid Lease are listed: main and other, accepted and rejected")
def lapsed(_):
    story = frozen(takes_over=40, reconciles=(41, 42))
    story.patch("x", "a", 47.5, {"note": "1"}, precondition=105, code=409)
    story.event("create", "events", "e", "a", 47.6, code=201)
    story.create("y", "b", 30, by="a", resource="configmaps")
    story.create("z", "b", 17, by="a", resource="configmaps")
    verdict = kept(story, at=48)
    assert [finding.rule for finding in verdict.listed] == ["lapsed"] * 3, verdict.report()
    figures = {name.removeprefix("writes without a valid Lease, "): count for name, count in verdict.figures.items()
               if name.startswith("writes without")}
    assert figures == {"accepted, main": 0, "accepted, other": 2, "rejected, main": 1, "rejected, other": 0}, figures


@suite.case("the longest times: without an available shard, until it is reconciled, of a drain")
def longest(_):
    verdict = kept(frozen(takes_over=40, reconciles=(41.5, 42)), at=48)
    assert verdict.figures["longest time of an object without an available shard"] == "0.100 s (ns/x)", verdict.figures
    assert verdict.figures["longest time from a shard label to the reconciliation"] == "1.400 s (ns/x)", verdict.figures
    verdict = kept(moved())
    assert verdict.figures["longest drain"] == "1.000 s (ns/x)", verdict.figures
    story = moved()
    story.create("y", "", 4)
    story.reassign("y", "b", 7)
    story.reconcile("b", "y", 7.1, 7.2)
    assert kept(story).figures["longest time of an object without an available shard"] == "3.000 s (ns/y)"


@suite.case("a note that names a journal is about that process, though another one of its name runs")
def noted_by_journal(_):
    def thawed(journal):
        story = frozen(takes_over=40, reconciles=(41, 42))
        story.note("killed", "a", 46)
        story.hold("a-2", 71)
        story.hold("b", 71)
        story.note("thawed", "a", 72, **({"journal": journal} if journal else {}))
        story.reconcile("a", "x", 72.1, 72.2, version=105)
        return story

    kept(thawed("a.jsonl"), at=73)
    broken(thawed(None), "J7", at=73)


@suite.case("shards that still work are judged until a point in time: files that were read later say no more")
def until(_):
    story = started()
    number = story.begin("a", "x", 1.5)
    story.end("a", number, 1.6)
    story.drain("x", "b", 2)
    story.acknowledge("x", "a", 3, target="b")
    version = story.version
    story.reconcile("b", "x", 3.1, 3.2)
    story.patch("x", "b", 4, {"note": "1"})
    story.reconcile("b", "x", 4.1, 4.2)
    early = BEGIN + 1.55  # when the journal of a was read
    story.lines["a"] = [line for line in story.lines["a"] if line["time"] <= early]
    broken(story, "J1", "J6")
    broken(story, "J5", at=None, until=early, live=["b"])  # it is of a, still
    kept(story, at=None, until=early)
    story.audit.pop()  # the patch: this log was read, or written, later than the journal of b
    finding, = broken(story, "J0", "J1", "J6", at=None).violations[:1]
    assert finding.rule == "J0" and str(version + 1) in finding.text, finding
    story.lines["a"].append({"event": "end", "shard": "a", "id": 2, "time": BEGIN + 1.6})
    verdict = kept(story, at=None, until=BEGIN + 4.5)
    assert [finding.rule for finding in verdict.undecided] == ["J0"], verdict.report()


@suite.case("requests of other forms: JSON patches, collections, subresources, cluster-scoped objects, short times")
def other_forms(_):
    for precondition, rules in (("106", []), (None, ["J6"])):
        story = moved()
        event = story.audit[6]
        assert event["user"]["username"].endswith(":a"), event
        escaped = [f"/metadata/labels/{label.replace('/', '~1')}" for label in (SHARD_LABEL, DRAIN_LABEL)]
        event["requestObject"] = [{"op": "replace", "path": escaped[0], "value": "b"},
                                  {"op": "remove", "path": escaped[1]}]
        if precondition:
            event["requestObject"].append({"op": "test", "path": "/metadata/resourceVersion", "value": precondition})
        assert broken(story, *rules).figures["acknowledgements with target"] == 1
    story = moved()
    event = story.audit[-1]
    story.patch("x", "b", 4, {"note": "1"})
    event = story.audit[-1]
    event["objectRef"]["subresource"] = "scale"
    event["responseObject"] = {"kind": "Scale", "metadata": {
        key: value for key, value in event["responseObject"]["metadata"].items() if key != "labels"}}
    story.reconcile("b", "x", 4.1, 4.2)
    kept(story)
    event["objectRef"]["subresource"] = "status"  # whose answer is the whole object
    broken(story, "J2", "J5", at=None)
    story = moved()
    metadata = dict(story.objects.pop(("secrets", "x")))
    story.event("deletecollection", "secrets", "", "user", 4,
                answer={"kind": "SecretList", "items": [{"metadata": metadata}]})
    story.create("y", "a", 4.5)
    story.reconcile("a", "y", 5, 5.1)
    assert kept(story, at=None).figures["main objects deleted"] == 1
    story = moved()
    for lines in story.lines.values():
        for line in lines:
            line.update({"namespace": ""} if line["event"] == "begin" else {})
    for event in story.audit:
        if event["objectRef"]["resource"] == "secrets":
            del event["objectRef"]["namespace"]
    assert kept(story, at=None).figures["moves, main"] == 1
    story.audit[0]["responseObject"]["spec"]["renewTime"] = "2026-09-21T14:13:20Z"
    kept(story, at=None)


@suite.case("another ring's objects, shards and Leases of the same names are no matter of the judge")
def another_ring(_):
    def with_another(ring):
        story, other = moved(), started()
        for event in other.audit:
            metadata = event["responseObject"]["metadata"]
            metadata["labels"] = {key.replace(f"/{RING}", f"/{ring}"): ring if value == RING else value
                                  for key, value in metadata["labels"].items()}
            metadata["namespace"] = event["objectRef"]["namespace"] = "other"
            metadata["resourceVersion"] += "000"
        story.audit += other.audit
        return story

    expected = kept(moved(), namespaces=["ns"]).figures
    figures = kept(with_another("other"), namespaces=["ns"]).figures
    assert {**figures, "audit events": 0} == {**expected, "audit events": 0}, figures
    assert "J0" in with_another(RING).verdict(9, namespaces=["ns"]).rules()  # two Leases of one name in one ring


@suite.case("the program: exit code, report, JSON, state")
def program(_):
    def run(story, *arguments):
        with story.files() as (audit, journals):
            state = audit.parent / "state.json"
            state.write_text(json.dumps(story.state(9)), encoding="utf-8")
            command = [HERE / "judge.py", "--audit", audit, "--journal", *journals, "--ring", RING, "--main", "secrets",
                       "--controlled", "configmaps", "--state", state, *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(moved())
    assert done.returncode == 0 and "the promise was kept" in done.stdout, done
    story = moved()
    story.reconcile("a", "x", 3.15, 3.16, version=105)
    done = run(story)
    assert done.returncode == 1 and "J1 BROKEN 1 times" in done.stdout and "secrets ns/x" in done.stdout, done
    done = run(story, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and not answer["ok"] and answer["rules"] == ["J1", "J2"], done
    assert {finding["object"] for finding in answer["violations"]} == {"secrets ns/x"}, answer
    done = run(moved(), "--live", "a")
    assert done.returncode == 1 and "J5" in done.stdout, done


@suite.case("random histories without a fault keep the promise")
def random_histories(_):
    for seed in range(10):
        history = Lived(random.Random(seed), objects=20, moves=200)
        kept(history, at=history.later(), newest=True)
        random.Random(seed).shuffle(history.audit)  # as the logs of several API servers would come
        kept(history, at=history.later(), newest=True)


@suite.case("random histories with one fault are found out")
def random_faults(_):
    for seed in range(20):
        chance = random.Random(seed)
        history = Lived(chance, objects=20, moves=200)
        begins = [(file, index) for file, lines in history.lines.items() for index, line in enumerate(lines)
                  if line["event"] == "begin"]
        file, index = chance.choice(begins)
        begin, end = history.lines[file][index:index + 2]
        if seed % 2:  # another shard does the same at the same time
            other = chance.choice([one for one in history.lines if one != file])
            history.lines[other] += [{**line, "shard": other, "id": -1} for line in (begin, end)]
            broken(history, "J1", "J2", at=history.later())
        else:  # the last shard of an object does nothing
            name = begin["name"]
            last = history.objects["secrets", name]["labels"][SHARD_LABEL]
            ids = {line["id"] for line in history.lines[last] if line.get("name") == name}
            history.lines[last] = [line for line in history.lines[last] if line.get("id") not in ids]
            broken(history, "J4", at=history.later())


class Lived(Story):
    """A history of many moves that keeps the promise."""

    def __init__(self, chance, objects, moves, size=0):
        super().__init__()
        self._chance, self._now, self._renewed = chance, 1.0, 0.0
        self._shards = [f"s{number}" for number in range(8)]
        owner = {}
        for number in range(objects):
            self._renew()
            name = f"x{number}"
            owner[name] = chance.choice(self._shards)
            self.create(name, owner[name], self.later())
            self.objects["secrets", name]["annotations"] = {"note": "x" * size}
            self._reconcile(owner[name], name)
        for _ in range(moves):
            self._renew()
            name = f"x{chance.randrange(objects)}"
            target = chance.choice([shard for shard in self._shards if shard != owner[name]])
            self.drain(name, target, self.later(), took=0.0004)
            self.acknowledge(name, owner[name], self.later(), target=target, took=0.0004)
            owner[name] = target
            self._reconcile(target, name)

    def later(self):
        """The time of what comes next."""
        self._now += 0.001 + self._chance.random() / 1000
        return self._now

    def _renew(self):
        if self._now > self._renewed + 2 or not self.leases:
            self._renewed = self._now
            for shard in self._shards:
                self.hold(shard, self.later())

    def _reconcile(self, shard, name):
        number = self.begin(shard, name, self.later())
        self.end(shard, number, self.later())


@suite.case("300,000 audit events are judged", long=True)
def many(env):
    history = Lived(random.Random(1), objects=3000, moves=145_000, size=1000)
    judge = Judge(RING, ["secrets"], newest=True)
    with history.files() as (audit, journals):
        size = audit.stat().st_size
        began = time.process_time()
        judge.read_audit(audit)
        for journal in journals:
            judge.read_journal(journal)
        verdict = judge.verdict()
        took = time.process_time() - began
    assert verdict.ok, verdict.report()
    assert verdict.figures["audit events"] > 290_000, verdict.figures
    env.figure(f"CPU seconds for {verdict.figures['audit events']} audit events, {size >> 20} MiB", f"{took:.1f}")


if __name__ == "__main__":
    suite.main()
