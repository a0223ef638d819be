"""How many statements a batch runs doesn't depend on how much it is about."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from router.core.claim import Share
from router.core.rows import FIRING
from router.core.state import State
from router.core.storms import BATCH, Room
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
from router.store import Adoption, Answer, Claimed, Limits, Listening, Phase, Reported, Work, jobs
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
    """A world in SQLite whose jobs are run in one batch."""

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

    def told(self) -> None:
        """All that is due is delivered."""
        self.now += MINUTE
        for destination in (*ALL, *self.policy.destinations.values()):
            while isinstance(work := self.begin(destination), Work):
                self.finish(work, DELIVERED)

    def lanes(self, count: int) -> list[Destination]:
        """So many destinations are notified of criticals."""
        found = [Destination(f"slack:C{number}", "slack", None) for number in range(count)]
        self.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": tuple(found)})
        return found

    def answer(self, **listed: str | None) -> Answer:
        """Alertmanager has these alerts; a text: it would not notify of them, and why."""
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


def anew(body: Webhook, desk: Desk) -> Webhook:
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
def test_1_or_10_or_200_webhooks_are_as_many_statements(level: str) -> None:
    counts = [
        statements(lambda desk, count: desk.of(*each_in_its_group(count, level)), count)
        for count in (1, 10, 200)
    ]
    assert len(set(counts)) == 1, counts
    assert counts[0] < 20


@pytest.mark.parametrize("level", ["critical", "warning", "info"])
def test_1_or_100_or_5000_alerts_of_a_webhook_are_as_many_statements(level: str) -> None:
    counts = [
        statements(lambda desk, count: desk.of(in_one_group(count, level)), count)
        for count in (1, 100, 5_000)
    ]
    assert len(set(counts)) == 1, counts


def again(level: str, status: Status, *, told: bool) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        desk.accepts(*each_in_its_group(count, level))
        if told:
            desk.told()
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
    desk.told()
    desk.accepts(in_one_group(3, status=RESOLVED))
    works = [desk.work_of(lane) for lane in lanes]
    desk.accepts(anew(in_one_group(3), desk))
    return [jobs.Record(work, DELIVERED, desk.policy, desk.now, desk.now) for work in works]


def storm(desk: Desk, count: int) -> Work:
    """Before it takes anything along."""
    desk.accepts(*each_in_its_group(count, "warning"))
    desk.now += MINUTE
    found = desk.do(jobs.Claim(jobs.Permit(TEAM, STORM), desk.policy, desk.now, rechecked=True))
    assert isinstance(found, Claimed)
    return found.works[0]


def absorbs(desk: Desk, count: int) -> Jobs:
    return [absorb(desk, storm(desk, count))]


def due(desk: Desk) -> list[int]:
    return [id_ for _, id_ in desk.do(jobs.Due(TEAM.key, desk.now, Share(taking=True), jobs.START))]


def absorb(desk: Desk, work: Work) -> jobs.Absorb:
    return jobs.Absorb(work, due(desk), desk.policy, desk.now, Room(STORM.room))


def views(desk: Desk, count: int) -> Jobs:
    work = storm(desk, count)
    found, _, _ = desk.do(absorb(desk, work))
    return [jobs.View(work, tuple(found), full=False, policy=desk.policy)]


def rechecks(desk: Desk, count: int) -> Jobs:
    storm(desk, count)
    return [jobs.Recheck(due(desk), desk.policy, desk.now)]


def parts(outcome: Outcome, meanwhile: str = "") -> Callable[[Desk, int], Jobs]:
    """A storm's parts are recorded. :param meanwhile: what they do while it is on its way"""

    def prepare(desk: Desk, count: int) -> Jobs:
        work = storm(desk, count)
        found, _, _ = desk.do(absorb(desk, work))
        if meanwhile == "fire anew after an end":
            for each in (jobs.RecordParts(tuple(found), DELIVERED, desk.policy, desk.now, desk.now),
                         jobs.Record(work, DELIVERED, desk.policy, desk.now, desk.now)):  # fmt: skip
                desk.do(each)
            desk.accepts(*each_in_its_group(count, "warning", RESOLVED))
            desk.now += MINUTE
            again = desk.do(jobs.Claim(jobs.Permit(TEAM, STORM), desk.policy, desk.now, rechecked=True))
            assert isinstance(again, Claimed)
            (work,) = again.works
            found, _, _ = desk.do(absorb(desk, work))
            desk.accepts(*(anew(each, desk) for each in each_in_its_group(count, "warning")))
        elif meanwhile == "end":
            desk.accepts(*each_in_its_group(count, "warning", RESOLVED))
        assert len(found) == count
        return [jobs.RecordParts(tuple(found), outcome, desk.policy, desk.now, desk.now)]

    return prepare


def answered(step: str) -> Callable[[Desk, int], Jobs]:
    """An answer of Alertmanager, after those before it."""

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
                marked = desk.do(jobs.Marked(0))
                return [jobs.ForgetAnswers(frozenset(), marked, desk.policy, desk.now)]
        desk.now += MINUTE
        answer = desk.answer(**listed)
        return [jobs.Reopen(answer, tuple(sorted(answer.alerts)), desk.policy, desk.now)]

    return prepare


def expires(desk: Desk, count: int) -> Jobs:
    desk.accepts(*each_in_its_group(count), *each_in_its_group(count, "warning"))
    desk.now += desk.policy.stale_after
    listening = Listening(desk.policy.stale_after)
    unheard = desk.do(jobs.Unheard(listening, desk.now, 0))
    return [jobs.Expire(listening, unheard, desk.policy, desk.now)]


def doubt(desk: Desk, *several: Webhook) -> None:
    """They end, and the other peer reports them as firing still."""
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
    doubted = desk.do(jobs.Doubted(answer.source, 0))
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
            return [jobs.Upcoming(DAILY, desk.policy, desk.now)]
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


def a_letter(destination: Destination) -> Callable[[Desk, int], Jobs]:
    def prepare(desk: Desk, count: int) -> Jobs:
        desk.accepts(in_one_group(count, "info" if destination.digest else "critical"))
        desk.now += DAY
        desk.finish(desk.work_of(destination), Rejected("http 400"))
        (letter,) = desk.letters()
        return [jobs.RetryDeadLetter(letter, desk.policy, desk.now)]

    return prepare


def letters(settle: str) -> Callable[[Desk, int], Jobs]:
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
        f"{level}s that are {'told' * told or 'untold'} are {status} again": again(level, status, told=told)
        for level in ("critical", "warning", "info")
        for status in Status
        for told in (True, False)
    },
    "many conversations end at once": ended_at_once,
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
    **{f"a digest is {what}": digest(what) for what in ("upcoming", "claimed", "told", "given up", "gone")},
    **{f"many digests {what}": digests(what) for what in ("come", "stay", "go")},
    "a letter of many alerts": a_letter(SLACK),
    "a digest's letter": a_letter(DAILY),
    **{f"many letters are {settle}": letters(settle) for settle in ("retried", "discarded")},
}
STORMS: dict[str, Callable[[Desk, int], Jobs]] = {
    "absorbs": absorbs,
    "views": views,
    "rechecks": rechecks,
    **{
        f"parts that {meanwhile}: {name}": parts(each, meanwhile)
        for name, each in OUTCOMES.items()
        for meanwhile in ("wait", "end", "fire anew after an end")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_many_are_as_many_statements_as_a_few(case: str) -> None:
    few, more = (statements(CASES[case], count) for count in (3, 12))
    assert more <= few


@pytest.mark.parametrize("case", STORMS)
def test_a_storm_of_many_is_as_many_statements_as_one_of_a_few(case: str) -> None:
    few, more = (statements(STORMS[case], count) for count in (3, BATCH))
    assert more <= few


def test_what_needs_many_rounds_is_done_all_the_same() -> None:
    """However badly a transition foresees what it asks for."""

    class Step(jobs.First):
        def run(self, state: State) -> int:
            return sum(state.alerts[number].status == FIRING for number in firing)

    with in_sqlite() as database:
        desk = Desk(database)
        desk.accepts(in_one_group(100))
        firing = sorted(row.id for row in desk.state.alerts)
        assert desk.do(Step()) == 100
