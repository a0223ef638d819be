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


class StatementHarness(World):
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


def fires_again(body: Webhook, harness: StatementHarness) -> Webhook:
    return replace(body, alerts=tuple(replace(each, starts_at=harness.now) for each in body.alerts))


def many(name: str, count: int) -> tuple[Alert, ...]:
    """Return warnings of one name."""
    return tuple(
        replace(alert(name, "warning"), labels={"alertname": name, "severity": "warning", "i": str(number)})
        for number in range(count)
    )


def statements(prepare: Callable[[StatementHarness, int], Jobs], count: int) -> int:
    with in_sqlite() as database:
        harness = StatementHarness(database)
        several = prepare(harness, count)
        database.statements.clear()
        harness.run(several)
        found = len(database.statements)
        harness.accepted = sum(1 for _ in harness.state.changes)
        harness.assert_balanced()
        return found


@pytest.mark.parametrize("level", ["critical", "warning", "info"])
def test_1_or_10_or_200_webhooks_take_the_same_statements(level: str) -> None:
    counts = [
        statements(lambda harness, count: harness.of(*each_in_its_group(count, level)), count)
        for count in (1, 10, 200)
    ]
    assert len(set(counts)) == 1, counts
    assert counts[0] < 20


@pytest.mark.parametrize("level", ["critical", "warning", "info"])
def test_1_or_100_or_5000_alerts_take_the_same_statements(level: str) -> None:
    counts = [
        statements(lambda harness, count: harness.of(in_one_group(count, level)), count)
        for count in (1, 100, 5_000)
    ]
    assert len(set(counts)) == 1, counts


def again(level: str, status: Status, *, notified: bool) -> Callable[[StatementHarness, int], Jobs]:
    def prepare(harness: StatementHarness, count: int) -> Jobs:
        harness.accepts(*each_in_its_group(count, level))
        if notified:
            harness.deliver_all()
        return harness.of(*each_in_its_group(count, level, status))

    return prepare


def ended_at_once(harness: StatementHarness, count: int) -> Jobs:
    harness.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": (PER_ALERT,)})
    harness.accepts(in_one_group(count))
    return harness.of(in_one_group(count, status=RESOLVED))


def fires_and_ends(harness: StatementHarness, count: int) -> Jobs:
    """Alerts fire and end several times in one batch."""
    return harness.of(
        *(
            webhook(alert("D", "critical", status), group=f"g{number}")
            for number in range(count)
            for status in Status
        )
    )


def ends_in_all_groups(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(*(webhook(alert("D", "critical"), group=f"g{number}") for number in range(count)))
    return harness.of(webhook(alert("D", "critical", RESOLVED), group="g0"))


def releases_alerts(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(webhook(alert("D", "critical")), webhook(*many("D", count), group="w"))
    return harness.of(webhook(alert("D", "critical", RESOLVED)))


def releases_groups(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(
        webhook(alert("D", "critical")),
        *(webhook(each, group=f"w{number}") for number, each in enumerate(many("D", count))),
    )
    return harness.of(webhook(alert("D", "critical", RESOLVED)))


def releases_each(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
    return harness.of(*each_in_its_group(count, status=RESOLVED))


def shown_whole(harness: StatementHarness, count: int) -> Jobs:
    lanes = harness.lanes(count)
    for status in Status:
        harness.accepts(webhook(alert("D", "critical", status), truncated=3))
        for lane in lanes:
            harness.finish(harness.work_of(lane), DELIVERED)
    return harness.of(webhook(alert("D", "critical", RESOLVED)))


def claim_of_alerts(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(in_one_group(count))
    return [jobs.Claim(jobs.Permit(SLACK), harness.policy, harness.now)]


def claim_of_what_is_inhibited(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(*each_in_its_group(count, "warning"))
    harness.now += 2 * SECOND
    harness.accepts(*each_in_its_group(count))
    harness.now += MINUTE
    return [jobs.Claim(jobs.Permit(TEAM), harness.policy, harness.now)]


def claim_of_inhibitors(harness: StatementHarness, count: int) -> Jobs:
    """A lane claims criticals that each inhibit an alert."""
    harness.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
    return [jobs.Claim(jobs.Permit(SLACK, count=count), harness.policy, harness.now)]


def records(outcome: Outcome) -> Callable[[StatementHarness, int], Jobs]:
    """Outcomes of many lanes are recorded."""

    def prepare(harness: StatementHarness, count: int) -> Jobs:
        lanes = harness.lanes(count)
        harness.accepts(*each_in_its_group(3))
        works = [harness.work_of(lane) for lane in lanes]
        return [jobs.Record(work, outcome, harness.policy, harness.now, harness.now) for work in works]

    return prepare


def record_of_alerts(
    outcome: Outcome, on_failure: str | None = None
) -> Callable[[StatementHarness, int], Jobs]:
    def prepare(harness: StatementHarness, count: int) -> Jobs:
        failing = replace(SLACK, on_failure=on_failure)
        harness.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": (failing,)})
        harness.accepts(in_one_group(count))
        work = harness.work_of(failing)
        return [jobs.Record(work, outcome, harness.policy, harness.now, harness.now)]

    return prepare


def records_of_ends_with_news(harness: StatementHarness, count: int) -> Jobs:
    lanes = harness.lanes(count)
    harness.accepts(in_one_group(3))
    harness.deliver_all()
    harness.accepts(in_one_group(3, status=RESOLVED))
    works = [harness.work_of(lane) for lane in lanes]
    harness.accepts(fires_again(in_one_group(3), harness))
    return [jobs.Record(work, DELIVERED, harness.policy, harness.now, harness.now) for work in works]


def storm(harness: StatementHarness, count: int) -> ClaimedDelivery:
    """A storm begins. It has absorbed no conversation yet."""
    harness.accepts(*each_in_its_group(count, "warning"))
    harness.now += MINUTE
    found = harness.do(jobs.Claim(jobs.Permit(TEAM, STORM), harness.policy, harness.now, rechecked=True))
    assert isinstance(found, Claimed)
    return found.works[0]


def absorbs(harness: StatementHarness, count: int) -> Jobs:
    return [absorb(harness, storm(harness, count))]


def due(harness: StatementHarness) -> list[int]:
    return [
        id_
        for _, id_ in harness.do(
            jobs.FindAbsorbable(TEAM.key, harness.now, Share(absorbs_all=True), jobs.FIRST_POSITION)
        )
    ]


def absorb(harness: StatementHarness, work: ClaimedDelivery) -> jobs.Absorb:
    return jobs.Absorb(work, due(harness), harness.policy, harness.now, Room(STORM.room))


def views(harness: StatementHarness, count: int) -> Jobs:
    work = storm(harness, count)
    found, _, _ = harness.do(absorb(harness, work))
    return [jobs.BuildStormView(work, tuple(found), full=False, policy=harness.policy)]


def rechecks(harness: StatementHarness, count: int) -> Jobs:
    storm(harness, count)
    return [jobs.Recheck(due(harness), harness.policy, harness.now)]


def parts(outcome: Outcome, meanwhile: str = "") -> Callable[[StatementHarness, int], Jobs]:
    """Record the parts of a storm.

    :param meanwhile: what happens to them during the delivery
    """

    def prepare(harness: StatementHarness, count: int) -> Jobs:
        work = storm(harness, count)
        found, _, _ = harness.do(absorb(harness, work))
        if meanwhile == "fire again after an end":
            for each in (jobs.RecordParts(tuple(found), DELIVERED, harness.policy, harness.now, harness.now),
                         jobs.Record(work, DELIVERED, harness.policy, harness.now, harness.now)):  # fmt: skip
                harness.do(each)
            harness.accepts(*each_in_its_group(count, "warning", RESOLVED))
            harness.now += MINUTE
            again = harness.do(
                jobs.Claim(jobs.Permit(TEAM, STORM), harness.policy, harness.now, rechecked=True)
            )
            assert isinstance(again, Claimed)
            (work,) = again.works
            found, _, _ = harness.do(absorb(harness, work))
            harness.accepts(*(fires_again(each, harness) for each in each_in_its_group(count, "warning")))
        elif meanwhile == "end":
            harness.accepts(*each_in_its_group(count, "warning", RESOLVED))
        assert len(found) == count
        return [jobs.RecordParts(tuple(found), outcome, harness.policy, harness.now, harness.now)]

    return prepare


def answered(step: str) -> Callable[[StatementHarness, int], Jobs]:
    """Alertmanager gives an answer after other answers."""

    def prepare(harness: StatementHarness, count: int) -> Jobs:
        names = [f"D{number}" for number in range(count)]
        harness.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
        listed: dict[str, str | None] = dict.fromkeys(names)
        answers: dict[str, dict[str, str | None]] = {
            "silenced": {**listed, **dict.fromkeys(names, "silenced")}, "has all": listed, "lacks all": {}, "lacks them still": {}
        }  # fmt: skip
        for each, what in answers.items():
            harness.now += MINUTE
            confirm = jobs.Confirm(harness.answer(**what), harness.policy, harness.now, 0)
            if step == each:
                return [confirm]
            harness.do(confirm)
            if step == "is forgotten" and each == "lacks all":
                marked = harness.do(jobs.FindMarked(0))
                return [jobs.ForgetAnswers(frozenset(), marked, harness.policy, harness.now)]
        harness.now += MINUTE
        answer = harness.answer(**listed)
        return [jobs.Reopen(answer, tuple(sorted(answer.alerts)), harness.policy, harness.now)]

    return prepare


def expires(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
    harness.now += harness.policy.stale_after
    listening = Listening(harness.policy.stale_after)
    unheard = harness.do(jobs.FindStale(listening, harness.now, 0))
    return [jobs.Expire(listening, unheard, harness.policy, harness.now)]


def doubt(harness: StatementHarness, *several: Webhook) -> None:
    """Alerts end, and the other peer still reports them as firing."""
    ended = tuple(
        replace(body, alerts=tuple(replace(each, status=RESOLVED) for each in body.alerts))
        for body in several
    )
    for bodies, peer in ((several, "a"), (ended, "a"), (several, "b")):
        harness.accepts(*(replace(each, external_url=peer) for each in bodies))


def doubts_last(harness: StatementHarness, count: int) -> Jobs:
    doubt(harness, *each_in_its_group(count))
    harness.now += 6 * MINUTE
    return [jobs.SettleDoubts(harness.policy, harness.now)]


def a_doubt_of_groups_lasts(harness: StatementHarness, count: int) -> Jobs:
    doubt(harness, *(webhook(alert("D", "critical"), group=f"g{number}") for number in range(count)))
    harness.now += 6 * MINUTE
    return [jobs.SettleDoubts(harness.policy, harness.now)]


def doubts_are_settled(harness: StatementHarness, count: int) -> Jobs:
    doubt(harness, *each_in_its_group(count))
    harness.now += MINUTE
    answer = harness.answer(**{f"D{number}": None for number in range(count)})
    doubted = harness.do(jobs.FindDoubted(answer.source, 0))
    return [jobs.SettleByAnswer(answer, doubted, harness.policy, harness.now)]


def reindexed(harness: StatementHarness, count: int) -> Jobs:
    harness.accepts(*each_in_its_group(count, "warning"))
    at_once(harness.store.rules.adopt(Adoption(RULES[2]), harness.now))
    return [jobs.JudgeSome(RULES[2], harness.now)]


def rejudged(rules: Policy) -> Callable[[StatementHarness, int], Jobs]:
    def prepare(harness: StatementHarness, count: int) -> Jobs:
        harness.accepts(*each_in_its_group(count, "warning"), in_one_group(count, "info"))
        harness.policy = replace(rules, fingerprint="changed")
        job = jobs.JudgeSome(harness.policy, harness.now)
        at_once(harness.store.rules.adopt(Adoption(harness.policy), harness.now))
        while harness.do(job)[0] is Phase.INDEX:
            pass
        return [job]

    return prepare


def digest(what: str) -> Callable[[StatementHarness, int], Jobs]:
    def prepare(harness: StatementHarness, count: int) -> Jobs:
        harness.accepts(*each_in_its_group(count, "info"))
        if what == "upcoming":
            return [jobs.PreviewDigest(DAILY, harness.policy, harness.now)]
        if what == "gone":
            harness.policy = RULES[2]
            return [jobs.Adopt(Adoption(RULES[2]), harness.now)]
        harness.now += DAY
        if what == "claimed":
            return [jobs.Claim(jobs.Permit(DAILY), harness.policy, harness.now)]
        outcome = Rejected("http 400") if what == "given up" else DELIVERED
        return [jobs.Record(harness.work_of(DAILY), outcome, harness.policy, harness.now, harness.now)]

    return prepare


def digests(what: str) -> Callable[[StatementHarness, int], Jobs]:
    def prepare(harness: StatementHarness, count: int) -> Jobs:
        several = tuple(replace(DAILY, key=f"digest:{number}") for number in range(count))
        harness.policy = replace(
            POLICY,
            receivers={**POLICY.receivers, "daily": several},
            schedules=dict.fromkeys((each.key for each in several), POLICY.schedules[DAILY.key]),
            fingerprint="many digests",
        )
        if what == "come":
            return [jobs.Adopt(Adoption(harness.policy), harness.now)]
        harness.reload(harness.policy)
        if what == "stay":
            return [jobs.OpenSlots(harness.policy, harness.now)]
        harness.accepts(in_one_group(3, "info"))
        harness.policy = POLICY
        return [jobs.Adopt(Adoption(POLICY), harness.now)]

    return prepare


def retry_large_dead_letter(destination: Destination) -> Callable[[StatementHarness, int], Jobs]:
    def prepare(harness: StatementHarness, count: int) -> Jobs:
        harness.accepts(in_one_group(count, "info" if destination.digest else "critical"))
        harness.now += DAY
        harness.finish(harness.work_of(destination), Rejected("http 400"))
        (letter,) = harness.letters()
        return [jobs.RetryDeadLetter(letter, harness.policy, harness.now)]

    return prepare


def settle_dead_letters(settle: str) -> Callable[[StatementHarness, int], Jobs]:
    def prepare(harness: StatementHarness, count: int) -> Jobs:
        lanes = harness.lanes(count)
        harness.accepts(in_one_group(3))
        for lane in lanes:
            harness.finish(harness.work_of(lane), Rejected("http 400"))
        if settle == "retried":
            return [jobs.RetryDeadLetter(letter, harness.policy, harness.now) for letter in harness.letters()]
        harness.accepts(in_one_group(3, status=RESOLVED))
        return [jobs.DiscardDeadLetter(letter, harness.now) for letter in harness.letters()]

    return prepare


OUTCOMES: dict[str, Outcome] = {
    "delivered": DELIVERED,
    "delivered to all but one": Delivered({"ts": "1"}, refused=(BOB,)),
    "failed": Retry("http 503"),
    "lost": Retry("timeout", ambiguous=True),
    "broken": Broken("token_revoked"),
    "given up": Rejected("http 400"),
}
CASES: dict[str, Callable[[StatementHarness, int], Jobs]] = {
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
    "many inhibitors are claimed": claim_of_inhibitors,
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
STORMS: dict[str, Callable[[StatementHarness, int], Jobs]] = {
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
def test_many_rows_take_as_many_statements_as_a_few(case: str) -> None:
    few, more = (statements(CASES[case], count) for count in (3, 12))
    assert more <= few


@pytest.mark.parametrize("case", STORMS)
def test_a_large_storm_takes_as_many_statements_as_a_small_one(case: str) -> None:
    few, more = (statements(STORMS[case], count) for count in (3, CONVERSATIONS_PER_BATCH))
    assert more <= few


def test_a_job_that_loads_rows_many_times_succeeds() -> None:
    """Even if a transition names its rows one by one."""

    class Step(jobs.BaseJob):
        def run(self, state: State) -> int:
            return sum(state.alerts[number].status == FIRING for number in firing)

    with in_sqlite() as database:
        harness = StatementHarness(database)
        harness.accepts(in_one_group(100))
        firing = sorted(row.id for row in harness.state.alerts)
        assert harness.do(Step()) == 100
