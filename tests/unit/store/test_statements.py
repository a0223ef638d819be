"""The number of statements of a batch does not depend on how many rows it has."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from router.core.claimed_delivery import Share
from router.core.rows import FIRING
from router.core.state import State
from router.core.storms import CONVERSATIONS_PER_BATCH, Room
from router.decide import Policy
from router.model import (
    DAY,
    MINUTE,
    SECOND,
    Alert,
    Broken,
    Delivered,
    Destination,
    Outcome,
    Refusal,
    Rejected,
    Retry,
    Status,
    Webhook,
)
from router.store import Adoption, Answer, Claimed, ClaimedDelivery, Limits, Listening, Phase, Reported, jobs
from router.store.jobs import Job
from tests.unit.core.memory import at_once
from tests.unit.core.world import (
    ALL,
    DAILY,
    MONDAY,
    PER_ALERT,
    POLICY,
    RULES,
    SLACK,
    TEAM,
    World,
    alert,
    webhook,
)
from tests.unit.store.sqlite_world import InSqlite, in_sqlite

DELIVERED = Delivered({"ts": "1"})
BOB = Refusal("bob@example.com", "smtp 550")
PEERS = frozenset({"http://am-1:9093"})
STORM = Limits(above=1, every=5 * SECOND)
RESOLVED = Status.RESOLVED
Jobs = Sequence[Job[object]]


class Desk(World):
    """A world in SQLite whose jobs run in one batch."""

    def __init__(self, database: InSqlite) -> None:
        super().__init__(database=database)
        self.sqlite = database

    def run(self, several: Jobs) -> None:
        for result in self.sqlite.batch(*several):
            if result.error is not None:
                raise result.error

    def of(self, *several: Webhook) -> Jobs:
        return [jobs.Accept(each, "default", b"{}", self.policy, self.now) for each in several]

    def accepts(self, *several: Webhook) -> None:
        self.run(self.of(*several))

    def deliver_all(self) -> None:
        """Deliver everything that is due."""
        self.now += MINUTE
        for destination in (*ALL, *self.policy.destinations.values()):
            while isinstance(work := self.begin(destination), ClaimedDelivery):
                self.finish(work, DELIVERED)

    def lanes(self, count: int) -> list[Destination]:
        """Return a policy that notifies this many destinations of criticals."""
        found = [Destination(f"slack:C{number}", "slack", None) for number in range(count)]
        self.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": tuple(found)})
        return found

    def answer(self, **listed: str | None) -> Answer:
        """Return an answer of Alertmanager with these alerts; a text says why it withholds their notification."""
        reported = {
            alert(name, "critical").identity: Reported(MONDAY, why, PEERS) for name, why in listed.items()
        }
        return Answer("default", self.now, reported, MINUTE, PEERS)


def each_in_its_group(
    count: int, level: str = "critical", status: Status = Status.FIRING, peer: str = "http://am-1"
) -> list[Webhook]:
    return [
        webhook(alert(f"D{number}", level, status), group=f"g{number}", peer=peer) for number in range(count)
    ]


def in_one_group(count: int, level: str = "critical", status: Status = Status.FIRING) -> Webhook:
    return webhook(*(alert(f"D{number}", level, status) for number in range(count)))


def fires_again(body: Webhook, desk: Desk) -> Webhook:
    return replace(body, alerts=tuple(replace(each, starts_at=desk.now) for each in body.alerts))


def many(name: str, count: int) -> tuple[Alert, ...]:
    """Warnings of one name."""
    return tuple(
        replace(alert(name, "warning"), labels={"alertname": name, "severity": "warning", "i": str(number)})
        for number in range(count)
    )


def statements(prepare: Callable[[Desk, int], Jobs], count: int) -> int:
    with in_sqlite() as database:
        desk = Desk(database)
        several = prepare(desk, count)
        database.statements.clear()
        desk.run(several)
        found = len(database.statements)
        desk.accepted = sum(1 for _ in desk.state.changes)
        desk.assert_balanced()
        return found


@pytest.mark.parametrize("level", ["critical", "warning", "info"])
def test_1_or_10_or_200_webhooks_take_the_same_statements(level: str) -> None:
    counts = [
        statements(lambda desk, count: desk.of(*each_in_its_group(count, level)), count)
        for count in (1, 10, 200)
    ]
    assert len(set(counts)) == 1, counts
    assert counts[0] < 20


@pytest.mark.parametrize("level", ["critical", "warning", "info"])
def test_1_or_100_or_5000_alerts_take_the_same_statements(level: str) -> None:
    counts = [
        statements(lambda desk, count: desk.of(in_one_group(count, level)), count)
        for count in (1, 100, 5_000)
    ]
    assert len(set(counts)) == 1, counts


def again(level: str, status: Status, *, notified: bool) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        desk.accepts(*each_in_its_group(count, level))
        if notified:
            desk.deliver_all()
        return desk.of(*each_in_its_group(count, level, status))

    return prepare


def ended_at_once(desk: Desk, count: int) -> Jobs:
    desk.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": (PER_ALERT,)})
    desk.accepts(in_one_group(count))
    return desk.of(in_one_group(count, status=RESOLVED))


def fires_and_ends(desk: Desk, count: int) -> Jobs:
    """In one batch, over and over."""
    return desk.of(
        *(
            webhook(alert("D", "critical", status), group=f"g{number}")
            for number in range(count)
            for status in Status
        )
    )


def ends_in_all_groups(desk: Desk, count: int) -> Jobs:
    desk.accepts(*(webhook(alert("D", "critical"), group=f"g{number}") for number in range(count)))
    return desk.of(webhook(alert("D", "critical", RESOLVED), group="g0"))


def releases_alerts(desk: Desk, count: int) -> Jobs:
    desk.accepts(webhook(alert("D", "critical")), webhook(*many("D", count), group="w"))
    return desk.of(webhook(alert("D", "critical", RESOLVED)))


def releases_groups(desk: Desk, count: int) -> Jobs:
    desk.accepts(
        webhook(alert("D", "critical")),
        *(webhook(each, group=f"w{number}") for number, each in enumerate(many("D", count))),
    )
    return desk.of(webhook(alert("D", "critical", RESOLVED)))


def releases_each(desk: Desk, count: int) -> Jobs:
    desk.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
    return desk.of(*each_in_its_group(count, status=RESOLVED))


def shown_whole(desk: Desk, count: int) -> Jobs:
    lanes = desk.lanes(count)
    for status in Status:
        desk.accepts(webhook(alert("D", "critical", status), truncated=3))
        for lane in lanes:
            desk.finish(desk.work_of(lane), DELIVERED)
    return desk.of(webhook(alert("D", "critical", RESOLVED)))


def claim_of_alerts(desk: Desk, count: int) -> Jobs:
    desk.accepts(in_one_group(count))
    return [jobs.Claim(jobs.Permit(SLACK), desk.policy, desk.now)]


def claim_of_what_is_inhibited(desk: Desk, count: int) -> Jobs:
    desk.accepts(*each_in_its_group(count, "warning"))
    desk.now += 2 * SECOND
    desk.accepts(*each_in_its_group(count))
    desk.now += MINUTE
    return [jobs.Claim(jobs.Permit(TEAM), desk.policy, desk.now)]


def records(outcome: Outcome) -> Callable[[Desk, int], Jobs]:
    """Of many lanes."""

    def prepare(desk: Desk, count: int) -> Jobs:
        lanes = desk.lanes(count)
        desk.accepts(*each_in_its_group(3))
        works = [desk.work_of(lane) for lane in lanes]
        return [jobs.Record(work, outcome, desk.policy, desk.now, desk.now) for work in works]

    return prepare


def record_of_alerts(outcome: Outcome, on_failure: str | None = None) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        failing = replace(SLACK, on_failure=on_failure)
        desk.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": (failing,)})
        desk.accepts(in_one_group(count))
        work = desk.work_of(failing)
        return [jobs.Record(work, outcome, desk.policy, desk.now, desk.now)]

    return prepare


def records_of_ends_with_news(desk: Desk, count: int) -> Jobs:
    lanes = desk.lanes(count)
    desk.accepts(in_one_group(3))
    desk.deliver_all()
    desk.accepts(in_one_group(3, status=RESOLVED))
    works = [desk.work_of(lane) for lane in lanes]
    desk.accepts(fires_again(in_one_group(3), desk))
    return [jobs.Record(work, DELIVERED, desk.policy, desk.now, desk.now) for work in works]


def storm(desk: Desk, count: int) -> ClaimedDelivery:
    """Before it absorbs any conversation."""
    desk.accepts(*each_in_its_group(count, "warning"))
    desk.now += MINUTE
    found = desk.do(jobs.Claim(jobs.Permit(TEAM, STORM), desk.policy, desk.now, rechecked=True))
    assert isinstance(found, Claimed)
    return found.works[0]


def absorbs(desk: Desk, count: int) -> Jobs:
    return [absorb(desk, storm(desk, count))]


def due(desk: Desk) -> list[int]:
    return [
        id_
        for _, id_ in desk.do(
            jobs.FindAbsorbable(TEAM.key, desk.now, Share(absorbs_all=True), jobs.FIRST_POSITION)
        )
    ]


def absorb(desk: Desk, work: ClaimedDelivery) -> jobs.Absorb:
    return jobs.Absorb(work, due(desk), desk.policy, desk.now, Room(STORM.room))


def views(desk: Desk, count: int) -> Jobs:
    work = storm(desk, count)
    found, _, _ = desk.do(absorb(desk, work))
    return [jobs.BuildStormView(work, tuple(found), full=False, policy=desk.policy)]


def rechecks(desk: Desk, count: int) -> Jobs:
    storm(desk, count)
    return [jobs.Recheck(due(desk), desk.policy, desk.now)]


def parts(outcome: Outcome, meanwhile: str = "") -> Callable[[Desk, int], Jobs]:
    """Record the parts of a storm.

    :param meanwhile: what happens to them during the delivery
    """

    def prepare(desk: Desk, count: int) -> Jobs:
        work = storm(desk, count)
        found, _, _ = desk.do(absorb(desk, work))
        if meanwhile == "fire again after an end":
            for each in (jobs.RecordParts(tuple(found), DELIVERED, desk.policy, desk.now, desk.now),
                         jobs.Record(work, DELIVERED, desk.policy, desk.now, desk.now)):  # fmt: skip
                desk.do(each)
            desk.accepts(*each_in_its_group(count, "warning", RESOLVED))
            desk.now += MINUTE
            again = desk.do(jobs.Claim(jobs.Permit(TEAM, STORM), desk.policy, desk.now, rechecked=True))
            assert isinstance(again, Claimed)
            (work,) = again.works
            found, _, _ = desk.do(absorb(desk, work))
            desk.accepts(*(fires_again(each, desk) for each in each_in_its_group(count, "warning")))
        elif meanwhile == "end":
            desk.accepts(*each_in_its_group(count, "warning", RESOLVED))
        assert len(found) == count
        return [jobs.RecordParts(tuple(found), outcome, desk.policy, desk.now, desk.now)]

    return prepare


def answered(step: str) -> Callable[[Desk, int], Jobs]:
    """An answer of Alertmanager that follows other answers."""

    def prepare(desk: Desk, count: int) -> Jobs:
        names = [f"D{number}" for number in range(count)]
        desk.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
        listed: dict[str, str | None] = dict.fromkeys(names)
        answers: dict[str, dict[str, str | None]] = {
            "silenced": {**listed, **dict.fromkeys(names, "silenced")}, "has all": listed, "lacks all": {}, "lacks them still": {}
        }  # fmt: skip
        for each, what in answers.items():
            desk.now += MINUTE
            confirm = jobs.Confirm(desk.answer(**what), desk.policy, desk.now, 0)
            if step == each:
                return [confirm]
            desk.do(confirm)
            if step == "is forgotten" and each == "lacks all":
                marked = desk.do(jobs.FindMarked(0))
                return [jobs.ForgetAnswers(frozenset(), marked, desk.policy, desk.now)]
        desk.now += MINUTE
        answer = desk.answer(**listed)
        return [jobs.Reopen(answer, tuple(sorted(answer.alerts)), desk.policy, desk.now)]

    return prepare


def expires(desk: Desk, count: int) -> Jobs:
    desk.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
    desk.now += desk.policy.stale_after
    listening = Listening(desk.policy.stale_after)
    unheard = desk.do(jobs.FindStale(listening, desk.now, 0))
    return [jobs.Expire(listening, unheard, desk.policy, desk.now)]


def doubt(desk: Desk, *several: Webhook) -> None:
    """Alerts end, and the other peer still reports them as firing."""
    ended = tuple(
        replace(body, alerts=tuple(replace(each, status=RESOLVED) for each in body.alerts))
        for body in several
    )
    for bodies, peer in ((several, "a"), (ended, "a"), (several, "b")):
        desk.accepts(*(replace(each, external_url=peer) for each in bodies))


def doubts_last(desk: Desk, count: int) -> Jobs:
    doubt(desk, *each_in_its_group(count))
    desk.now += 6 * MINUTE
    return [jobs.SettleDoubts(desk.policy, desk.now)]


def a_doubt_of_groups_lasts(desk: Desk, count: int) -> Jobs:
    doubt(desk, *(webhook(alert("D", "critical"), group=f"g{number}") for number in range(count)))
    desk.now += 6 * MINUTE
    return [jobs.SettleDoubts(desk.policy, desk.now)]


def doubts_are_settled(desk: Desk, count: int) -> Jobs:
    doubt(desk, *each_in_its_group(count))
    desk.now += MINUTE
    answer = desk.answer(**{f"D{number}": None for number in range(count)})
    doubted = desk.do(jobs.FindDoubted(answer.source, 0))
    return [jobs.SettleByAnswer(answer, doubted, desk.policy, desk.now)]


def reindexed(desk: Desk, count: int) -> Jobs:
    desk.accepts(*each_in_its_group(count, "warning"))
    at_once(desk.store.rules.adopt(Adoption(RULES[2]), desk.now))
    return [jobs.JudgeSome(RULES[2], desk.now)]


def rejudged(rules: Policy) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        desk.accepts(*each_in_its_group(count, "warning"), in_one_group(count, "info"))
        desk.policy = replace(rules, fingerprint="changed")
        job = jobs.JudgeSome(desk.policy, desk.now)
        at_once(desk.store.rules.adopt(Adoption(desk.policy), desk.now))
        while desk.do(job)[0] is Phase.INDEX:
            pass
        return [job]

    return prepare


def digest(what: str) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        desk.accepts(*each_in_its_group(count, "info"))
        if what == "upcoming":
            return [jobs.PreviewDigest(DAILY, desk.policy, desk.now)]
        if what == "gone":
            desk.policy = RULES[2]
            return [jobs.Adopt(Adoption(RULES[2]), desk.now)]
        desk.now += DAY
        if what == "claimed":
            return [jobs.Claim(jobs.Permit(DAILY), desk.policy, desk.now)]
        outcome = Rejected("http 400") if what == "given up" else DELIVERED
        return [jobs.Record(desk.work_of(DAILY), outcome, desk.policy, desk.now, desk.now)]

    return prepare


def digests(what: str) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        several = tuple(replace(DAILY, key=f"digest:{number}") for number in range(count))
        desk.policy = replace(
            POLICY,
            receivers={**POLICY.receivers, "daily": several},
            schedules=dict.fromkeys((each.key for each in several), POLICY.schedules[DAILY.key]),
            fingerprint="many digests",
        )
        if what == "come":
            return [jobs.Adopt(Adoption(desk.policy), desk.now)]
        desk.reload(desk.policy)
        if what == "stay":
            return [jobs.OpenSlots(desk.policy, desk.now)]
        desk.accepts(in_one_group(3, "info"))
        desk.policy = POLICY
        return [jobs.Adopt(Adoption(POLICY), desk.now)]

    return prepare


def retry_large_dead_letter(destination: Destination) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        desk.accepts(in_one_group(count, "info" if destination.digest else "critical"))
        desk.now += DAY
        desk.finish(desk.work_of(destination), Rejected("http 400"))
        (letter,) = desk.letters()
        return [jobs.RetryDeadLetter(letter, desk.policy, desk.now)]

    return prepare


def settle_dead_letters(settle: str) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        lanes = desk.lanes(count)
        desk.accepts(in_one_group(3))
        for lane in lanes:
            desk.finish(desk.work_of(lane), Rejected("http 400"))
        if settle == "retried":
            return [jobs.RetryDeadLetter(letter, desk.policy, desk.now) for letter in desk.letters()]
        desk.accepts(in_one_group(3, status=RESOLVED))
        return [jobs.DiscardDeadLetter(letter, desk.now) for letter in desk.letters()]

    return prepare


OUTCOMES: dict[str, Outcome] = {
    "delivered": DELIVERED,
    "delivered to all but one": Delivered({"ts": "1"}, refused=(BOB,)),
    "failed": Retry("http 503"),
    "lost": Retry("timeout", ambiguous=True),
    "broken": Broken("token_revoked"),
    "given up": Rejected("http 400"),
}
CASES: dict[str, Callable[[Desk, int], Jobs]] = {
    **{
        f"{level}s that are {'notified' if notified else 'pending'} are {status} again": again(
            level, status, notified=notified
        )
        for level in ("critical", "warning", "info")
        for status in Status
        for notified in (True, False)
    },
    "many conversations end together": ended_at_once,
    "alerts fire and end in one batch": fires_and_ends,
    "an alert of many groups ends": ends_in_all_groups,
    "many alerts are released": releases_alerts,
    "many groups are released": releases_groups,
    "many inhibitors end": releases_each,
    "a group of many conversations is shown whole": shown_whole,
    "many alerts are claimed": claim_of_alerts,
    "what is inhibited is claimed": claim_of_what_is_inhibited,
    **{f"many lanes record: {name}": records(each) for name, each in OUTCOMES.items()},
    **{f"many alerts are recorded: {name}": record_of_alerts(each) for name, each in OUTCOMES.items()},
    "many alerts go out instead": record_of_alerts(Rejected("http 400"), "team"),
    "many alerts stand in a digest instead": record_of_alerts(Rejected("http 400"), "daily"),
    "many lanes record ends, with news": records_of_ends_with_news,
    "rules": reindexed,
    "the same rules": rejudged(POLICY),
    "other rules": rejudged(RULES[2]),
    "silence": expires,
    "doubts last": doubts_last,
    "a doubt of many groups lasts": a_doubt_of_groups_lasts,
    "doubts are settled by an answer": doubts_are_settled,
    **{
        f"an answer {step}": answered(step)
        for step in ("silenced", "has all", "lacks all", "lacks them still", "is forgotten", "reopens")
    },
    **{
        f"a digest is {what}": digest(what)
        for what in ("upcoming", "claimed", "delivered", "given up", "gone")
    },
    **{f"many digests {what}": digests(what) for what in ("come", "stay", "go")},
    "a dead letter of many alerts": retry_large_dead_letter(SLACK),
    "a digest's dead letter": retry_large_dead_letter(DAILY),
    **{f"many dead letters are {settle}": settle_dead_letters(settle) for settle in ("retried", "discarded")},
}
STORMS: dict[str, Callable[[Desk, int], Jobs]] = {
    "absorbs": absorbs,
    "views": views,
    "rechecks": rechecks,
    **{
        f"parts that {meanwhile}: {name}": parts(each, meanwhile)
        for name, each in OUTCOMES.items()
        for meanwhile in ("wait", "end", "fire again after an end")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_many_take_as_many_statements_as_a_few(case: str) -> None:
    few, more = (statements(CASES[case], count) for count in (3, 12))
    assert more <= few


@pytest.mark.parametrize("case", STORMS)
def test_a_large_storm_takes_as_many_statements_as_a_small_one(case: str) -> None:
    few, more = (statements(STORMS[case], count) for count in (3, CONVERSATIONS_PER_BATCH))
    assert more <= few


def test_a_job_that_needs_many_rounds_succeeds() -> None:
    """Even if a transition names its rows one by one."""

    class Step(jobs.BaseJob):
        def run(self, state: State) -> int:
            return sum(state.alerts[number].status == FIRING for number in firing)

    with in_sqlite() as database:
        desk = Desk(database)
        desk.accepts(in_one_group(100))
        firing = sorted(row.id for row in desk.state.alerts)
        assert desk.do(Step()) == 100
