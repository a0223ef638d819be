"""Plays a history on a store like the service does: lanes claim when they are woken, or when their time has come."""

from collections.abc import Callable, Iterable
from typing import Any

from router.channels import destination_from_json
from router.model import (
    LATE,
    MINUTE,
    Alert,
    Broken,
    Conversation,
    Delivered,
    Destination,
    Millis,
    Outcome,
    Refusal,
    Rejected,
    Retry,
    Status,
    Webhook,
    identity_of,
)
from router.store import Answer, ClaimedDelivery, DeliveryUnderWay, Idle, Listening, Reported, Store
from tests.histories.data import History, JobResult, Step
from tests.histories.policies import adoption, moment, seconds
from tests.histories.seen import PEER, Seen, ledger_change

_PEERS = frozenset({f"{PEER}1", f"{PEER}2"})
_BACKOFF: Millis = MINUTE
_MAX_DELIVERIES = 60
"""Deliveries at one destination in one step. A destination that needs more never comes to rest."""
_BOB, _CAROL = Refusal("bob@example.com", "smtp 550"), Refusal("carol@example.com", "smtp 550")


async def play(history: History, url: str, move: Callable[[str], str] = lambda url: url) -> list[JobResult]:
    """Return what the store showed after each step and at the end.

    :param url: an empty database; it may have tables
    :param move: called with the URL of the database at each restart; returns the URL with which to go on
    """
    player = _Player(history, url, move)
    await player.start()
    try:
        results = [await player.do(number, step) for number, step in enumerate(history["steps"], 1)]
        return [*results, await player.end()]
    finally:
        await player.store.close()


class _Player:
    def __init__(self, history: History, url: str, move: Callable[[str], str]) -> None:
        self.history = history
        self.url = url
        self.move = move
        self.now = moment(history["start"])
        self.seen = Seen(history)
        self.rules = adoption(history["policy"])
        self.lanes: dict[str, Destination] = {}
        self.awake: set[str] = set()
        self.until: dict[str, Millis | None] = {}
        """When each lane that found nothing looks again."""
        self.under_way: dict[str, ClaimedDelivery] = {}
        self.ledger: dict[str, int] = {}
        self.result: JobResult = {}

    async def start(self) -> None:
        self.store = await Store.open(self.url)
        await self.store.start(self.now)
        await self.adopt()
        await self.store.timekeeping.begin_counting(self.rules.policy, self.now)
        await self.store.rules.judge_all(self.rules.policy, self.now)

    async def adopt(self) -> None:
        await self.store.rules.adopt(self.rules, self.now)
        await self.store.rules.judge_all(self.rules.policy, self.now)
        gone = await self.store.rules.retire(self.rules.policy, self.now)
        retired = {key: destination_from_json(key, text) for key, text in gone.items()}
        self.lanes = {
            **self.rules.policy.destinations,
            **{key: each for key, each in sorted(retired.items()) if each is not None},
        }
        if gone:
            self.result["retired"] = sorted(gone)
        self.wake(self.lanes)

    def wake(self, keys: Iterable[str]) -> None:
        self.awake.update(keys)

    async def do(self, number: int, step: Step) -> JobResult:
        self.result = {}
        given = {name: value for name, value in step.items() if name != "do"}
        try:
            await getattr(self, f"_{step['do']}")(**given)
        except Exception as error:
            error.add_note(f"In step {number} of history {self.history['seed']}: {step}")
            raise
        await self.look_at_the_ledger()
        return self.result

    async def look_at_the_ledger(self) -> None:
        before, status = self.ledger, await self.store.pages.status()
        self.ledger, change = ledger_change(before, status)
        if change:
            self.result["ledger"] = change

    async def end(self) -> JobResult:
        store, seen, policy = self.store, self.seen, self.rules.policy
        opening = await store.presence.next_opening(self.now)
        digests = {
            key: seen.digest(await store.digest(each, policy, self.now))
            for key, each in policy.destinations.items()
            if each.digest
        }
        return {
            "backlog": seen.backlog(await store.pages.lanes(self.now)),
            **seen.waiting(await store.pages.waiting()),
            "openings": None if opening is None else seconds(opening),
            "letters": seen.letters(await self.letters()),
            "digests": digests,
            "wrong": len((await store.pages.ledger(None, None))["wrong"]),
            **seen.decided(await store.pages.decisions()),
        }

    async def letters(self) -> list[dict[str, Any]]:
        """Return the open dead letters, the newest first."""
        pages = self.store.pages
        ids = sorted((row["id"] for row in (await pages.dead_letters(limit=500)).rows), reverse=True)
        found = [await pages.dead_letter(each, max_alerts=50) for each in ids]
        return [each for each in found if each is not None]

    # The steps, by their names.

    async def _post(self, group: str, alerts: list[Any], peer: int = 1, truncated: int = 0) -> None:
        about = self.history["groups"][group]
        webhook = Webhook(
            "hook", group, about["labels"], f"{PEER}{peer}", truncated,
            tuple(self.alert(*each) for each in alerts),
        )  # fmt: skip
        receipt = await self.store.accept(webhook, about["source"], b"{}", self.rules.policy, self.now)
        self.wake(receipt.wake)

    def alert(self, name: str, status: str, start: int, end: int | None) -> Alert:
        at = None if end is None else moment(end)
        firing = status == "firing"
        return Alert(
            name, self.history["alerts"][name], {"start": str(start)}, Status(status), moment(start),
            None if firing else at, fires_until=at if firing else None,
        )  # fmt: skip

    async def _wait(self, by: int) -> None:
        self.now += moment(by) - moment(0)
        await self.store.timekeeping.heartbeat(self.rules.policy, self.now)

    async def _step(self, by: int) -> None:
        self.now += moment(by) - moment(0)
        await self.store.timekeeping.step_clock(self.rules.policy, self.now, back=by < 0)
        self.wake(self.lanes)

    async def _deliver(self, outcomes: Iterable[str] = ()) -> None:
        given = iter(outcomes)
        for key in self.lanes:
            for _ in range(_MAX_DELIVERIES):
                work = await self.claim(key)
                if work is None:
                    break
                await self.record(work, next(given, "delivered"))
            else:
                self.result["never comes to rest"] = key

    async def _claim(self, at: str = "") -> None:
        """Begin one delivery. :param at: the destination; empty: the first one that has something due"""
        for key in [at] if at else list(self.lanes):
            if (work := await self.claim(key)) is not None:
                self.under_way[key] = work
                return

    async def _finish(self, outcome: str) -> None:
        for key in sorted(self.under_way):
            await self.record(self.under_way.pop(key), outcome)

    async def claim(self, key: str) -> ClaimedDelivery | None:
        """Return what is due at a destination, if its lane looks now and has nothing under way."""
        until = self.until.get(key)
        if key in self.under_way or key not in self.lanes:
            return None
        if key not in self.awake and (until is None or until > self.now):
            return None
        work = await self.store.claim(self.lanes[key], self.rules.policy, self.now)
        if isinstance(work, Idle):
            self.awake.discard(key)
            self.until[key] = work.until
            if work.until != until:
                self.result.setdefault("idle until", {})[key] = seconds(work.until)
            return None
        self.result.setdefault("claims", []).append(self.seen.claim(work.conversation))
        return work

    async def record(self, work: ClaimedDelivery, name: str) -> None:
        conversation = work.conversation
        key = conversation.destination
        outcome = _outcome(name, conversation, self.seen.begun, by_mail=self.lanes_channel(key) in _BY_MAIL)
        again = self.now + _BACKOFF if isinstance(outcome, Retry | Broken) else self.now
        recorded = await self.store.record(work, outcome, self.rules.policy, self.now, again)
        self.wake({key, *recorded.wake})

    def lanes_channel(self, key: str) -> str:
        return self.lanes[key].channel if key in self.lanes else ""

    async def _restart(self, down: int) -> None:
        """Restart the store. Deliveries under way are not recorded."""
        await self.store.close()
        self.under_way.clear()
        self.url = self.move(self.url)
        self.now += moment(down) - moment(0)
        await self.start()

    async def _reload(self, policy: str) -> None:
        self.rules = adoption(policy)
        await self.adopt()

    async def _answered(self, source: str, has: dict[str, int], muted: Iterable[str] = ()) -> None:
        reported = {
            identity_of(self.history["alerts"][name]): Reported(
                moment(start), "silenced in Alertmanager" if name in muted else None, _PEERS
            )
            for name, start in has.items()
        }
        answer = Answer(source, self.now, reported, MINUTE, _PEERS)
        receipt = await self.store.presence.apply_answer(answer, self.rules.policy, self.now)
        self.wake(receipt.wake)

    async def _unanswered(self) -> None:
        self.wake(await self.store.presence.forget_answers(frozenset(), self.rules.policy, self.now))

    async def _expire(self) -> None:
        policy = self.rules.policy
        receipts = await self.store.presence.expire(Listening(policy.stale_after), policy, self.now)
        self.wake(key for each in receipts.values() for key in each.wake)

    async def _settle(self) -> None:
        receipts, following = await self.store.presence.settle_doubts(self.rules.policy, self.now)
        self.wake(key for each in receipts.values() for key in each.wake)
        if following is not None:
            self.result["next doubt"] = seconds(following)

    async def _retry(self, letter: int) -> None:
        async def again(number: int) -> str:
            try:
                woken = await self.store.retry(number, self.rules.policy, self.now)
            except DeliveryUnderWay:
                return "under way"
            self.wake(woken or ())
            return "retried" if woken is not None else "no such letter"

        await self.settle_letter(letter, again)

    async def _discard(self, letter: int) -> None:
        async def discard(number: int) -> str:
            return "discarded" if await self.store.discard(number, self.now) else "no such letter"

        await self.settle_letter(letter, discard)

    async def settle_letter(self, letter: int, how: Callable[[int], Any]) -> None:
        letters = await self.letters()
        if letters:
            (found,) = self.seen.letters([letters[letter % len(letters)]])
            self.result["letter"] = found
            self.result["settled"] = await how(letters[letter % len(letters)]["id"])

    async def _resume(self, at: str) -> None:
        await self.store.resume(at)
        self.wake([at])


_BY_MAIL = ("email", "digest")


def _outcome(name: str, conversation: Conversation, number: int, *, by_mail: bool) -> Outcome:  # noqa: PLR0911
    """:param by_mail: only a mail has several recipients, some of which may be refused"""
    remote = {"ts": conversation.remote.get("ts", number)}
    late = {**remote, LATE: {"to": [_BOB.recipient], "state": "told"}}
    match name:
        case "retry":
            return Retry("http 503")
        case "further":
            return Retry("http 503", ambiguous=True, further=True, remote=remote)
        case "late" if by_mail:
            return Retry("smtp 451", ambiguous=True, late=(_BOB,), remote=late, reached=True)
        case "late and refused" if by_mail:
            return Retry(
                "smtp 451", ambiguous=True, late=(_BOB,), refused=(_CAROL,), remote=late, reached=True
            )
        case "lost" | "late" | "late and refused":
            return Retry("timeout", ambiguous=True)
        case "refused" if by_mail:
            return Delivered(remote, refused=(_BOB,))
        case "broken":
            return Broken("token_revoked")
        case "rejected":
            return Rejected("http 400")
        case "rejected in doubt":
            return Rejected("given up after 1d: timeout", ambiguous=True)
        case _:
            return Delivered(remote)
