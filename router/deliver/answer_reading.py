"""Turns what the store knows about a test's alert into what each destination answered. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from router.model import (
    AnswerState,
    Fate,
    MessageAnswer,
    Millis,
    ReceiverTest,
    TestedDestination,
    TestOutcome,
)
from router.render.words import clip
from router.store.alert_answers import ChangeFate, DestinationProgress, MadeAttempt

_MAX_WORDS = 500
_NOT_ROUTED = "the receiver no longer has this destination"
_UNKNOWN = DestinationProgress()


def read_answers(test: ReceiverTest, progress: Mapping[str, DestinationProgress]) -> ReceiverTest:
    """Return a test with the answers that have come by now.

    A destination that was added, because another one failed and names it in ``on_failure``, is added to the test.
    """
    keys = [each.key for each in test.destinations]
    known = {each.key: each for each in test.destinations}
    every = [*keys, *(key for key in sorted(progress) if key not in known)]
    destinations = tuple(
        _destination(test, known.get(key, TestedDestination(key)), progress.get(key, _UNKNOWN))
        for key in every
    )
    return replace(test, destinations=destinations)


def outcome_of(test: ReceiverTest) -> TestOutcome:
    """Return how a test ended."""
    if test.interrupted:
        return TestOutcome.INTERRUPTED
    outcomes = {each.outcome for each in test.destinations}
    for worst in (TestOutcome.FAILED, TestOutcome.WAITING):
        if worst in outcomes:
            return worst
    return TestOutcome.DELIVERED


def _destination(
    test: ReceiverTest, before: TestedDestination, found: DestinationProgress
) -> TestedDestination:
    firing = before.firing
    if not firing.is_final or firing.state is AnswerState.FAILED:
        firing = _firing(test, firing, found)
    if test.ended_at is None:
        return TestedDestination(before.key, firing)
    attempts = [each for each in found.attempts if each.delivery > (firing.delivery or 0)]
    end = before.end if before.end.is_final else _end(test, found, attempts)
    return TestedDestination(before.key, firing, end)


def _firing(test: ReceiverTest, before: MessageAnswer, found: DestinationProgress) -> MessageAnswer:
    fate, since = found.fired, test.sent_at or test.started_at
    if fate is None:
        return before if test.interrupted else MessageAnswer(AnswerState.FAILED, _NOT_ROUTED)
    if test.ended_at is not None and fate.fate != Fate.DELIVERED:
        return before  # nothing more is tried, so the last answer stays
    answer = _answer(fate, found, since, found.attempts)
    return replace(answer, state=AnswerState.FAILED) if answer.state is AnswerState.NOT_SENT else answer


def _end(test: ReceiverTest, found: DestinationProgress, attempts: Sequence[MadeAttempt]) -> MessageAnswer:
    if found.ended is None:
        return MessageAnswer(AnswerState.NOT_SENT, "it was not notified of the test")
    return _answer(found.ended, found, test.ended_at or test.started_at, attempts)


def _answer(
    fate: ChangeFate, found: DestinationProgress, since: Millis, attempts: Sequence[MadeAttempt]
) -> MessageAnswer:
    """Return what is known about one of the messages.

    :param attempts: those to send it, the oldest first
    """
    last = attempts[-1] if attempts else None
    answer = MessageAnswer(
        delivery=None if last is None else last.delivery, in_storm=found.in_storm,
        words="" if last is None or last.outcome is None else clip(last.shown, _MAX_WORDS),
    )  # fmt: skip
    after = max(0, fate.at - since)
    if fate.fate == Fate.DELIVERED:
        good = next((each.delivery for each in attempts if each.outcome == "delivered"), answer.delivery)
        if found.refused:  # by single recipients
            words = clip(found.refused, _MAX_WORDS)
            return replace(answer, state=AnswerState.FAILED, words=words, after=after, delivery=good)
        return replace(answer, state=AnswerState.DELIVERED, words="", after=after, delivery=good)
    if fate.fate in (Fate.OBSOLETE, Fate.DROPPED):
        return replace(answer, state=AnswerState.NOT_SENT, words=fate.reason)
    if fate.fate == Fate.DEAD:
        return replace(answer, state=AnswerState.FAILED, words=answer.words or fate.reason, after=after)
    if last is not None and last.outcome == "broken":
        after = max(0, (last.finished_at or since) - since)
        return replace(answer, state=AnswerState.FAILED, after=after)
    return answer
