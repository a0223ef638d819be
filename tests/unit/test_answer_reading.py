"""What a destination answered to a test, read from the fates and the attempts in the store."""

from dataclasses import replace

import pytest

from router.deliver.answer_reading import outcome_of, read_answers
from router.deliver.waiting_words import explained
from router.model import (
    MINUTE,
    SECOND,
    AnswerState,
    MessageAnswer,
    ReceiverTest,
    TestedDestination,
    TestOutcome,
)
from router.store.alert_answers import ChangeFate, DestinationProgress, MadeAttempt

NOW = 1_795_435_200_000
KEY = "slack:C1"
TEST = ReceiverTest(
    "1", "oncall", "ada", "critical", "severity", MINUTE, NOW, (TestedDestination(KEY),), sent_at=NOW
)
GOOD = MadeAttempt(7, "delivered", "", "", NOW + SECOND)
BAD = MadeAttempt(6, "retry", "http 503", "busy", NOW + SECOND)
LANE = {
    "destination": KEY, "paused_since": None, "paused_by": None, "paused_until": None, "pause_reason": None,
    "is_rate_limited": False, "rate": "1/s burst 1",
}  # fmt: skip


def read(test: ReceiverTest, **found: object) -> TestedDestination:
    (destination,) = read_answers(test, {KEY: DestinationProgress(**found)}).destinations  # type: ignore[arg-type]
    return destination


def fate(name: str, reason: str = "", after: int = SECOND) -> ChangeFate:
    return ChangeFate(name, reason, NOW + after)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"fired": fate("delivered"), "attempts": (BAD, GOOD)}, MessageAnswer(AnswerState.DELIVERED, "", SECOND, 7)),
        ({"fired": fate("delivered"), "attempts": (GOOD,), "refused": "not to a@b: smtp 550"}, MessageAnswer(AnswerState.FAILED, "not to a@b: smtp 550", SECOND, 7)),
        ({"fired": fate("delivered"), "attempts": (GOOD,), "in_storm": True}, MessageAnswer(AnswerState.DELIVERED, "", SECOND, 7, in_storm=True)),
        ({"fired": fate("pending"), "attempts": (BAD,)}, MessageAnswer(AnswerState.WAITING, "http 503: busy", None, 6)),
        ({"fired": fate("pending"), "attempts": (replace(BAD, outcome="broken"),)}, MessageAnswer(AnswerState.FAILED, "http 503: busy", SECOND, 6)),
        ({"fired": fate("pending"), "attempts": (replace(BAD, outcome=None),)}, MessageAnswer(AnswerState.WAITING, "", None, 6)),
        ({"fired": fate("dead", "given up"), "attempts": (replace(BAD, outcome="rejected"),)}, MessageAnswer(AnswerState.FAILED, "http 503: busy", SECOND, 6)),
        ({"fired": fate("dropped", "no longer routed here")}, MessageAnswer(AnswerState.FAILED, "no longer routed here")),
        ({}, MessageAnswer(AnswerState.FAILED, "the receiver no longer has this destination")),
    ],
)  # fmt: skip
def test_an_answer_to_the_message(found: dict[str, object], expected: MessageAnswer) -> None:
    assert read(TEST, **found).firing == expected


def test_an_end_that_is_not_sent_on_purpose_is_good() -> None:
    ended = replace(TEST, ended_at=NOW + SECOND)
    found = read(
        ended, fired=fate("delivered"), ended=fate("dropped", "send_resolved is false"), attempts=(GOOD,)
    )
    assert found.end == MessageAnswer(AnswerState.NOT_SENT, "send_resolved is false")
    assert found.outcome is TestOutcome.DELIVERED


def test_the_attempts_of_the_message_are_none_of_its_end() -> None:
    ended = replace(TEST, ended_at=NOW + SECOND)
    found = read(ended, fired=fate("delivered"), ended=fate("pending"), attempts=(BAD, GOOD))
    assert found.end == MessageAnswer()
    later = MadeAttempt(8, "broken", "is_archived", "", NOW + 2 * SECOND)
    found = read(ended, fired=fate("delivered"), ended=fate("pending"), attempts=(BAD, GOOD, later))
    assert found.end == MessageAnswer(AnswerState.FAILED, "is_archived", SECOND, 8)


def test_a_stand_in_is_shown_among_the_destinations() -> None:
    found = read_answers(
        TEST, {KEY: DestinationProgress(fate("dead")), "email:a@b": DestinationProgress(fate("pending"))}
    )
    assert [each.key for each in found.destinations] == [KEY, "email:a@b"]


def test_the_worst_destination_is_the_outcome_of_a_test() -> None:
    def outcome(*states: AnswerState) -> TestOutcome:
        several = tuple(
            TestedDestination(str(number), MessageAnswer(each), MessageAnswer(AnswerState.NOT_SENT))
            for number, each in enumerate(states)
        )
        return outcome_of(replace(TEST, destinations=several))

    assert outcome(AnswerState.DELIVERED) is TestOutcome.DELIVERED
    assert outcome(AnswerState.DELIVERED, AnswerState.WAITING) is TestOutcome.WAITING
    assert outcome(AnswerState.WAITING, AnswerState.FAILED) is TestOutcome.FAILED
    assert outcome_of(replace(TEST, interrupted="a restart")) is TestOutcome.INTERRUPTED


@pytest.mark.parametrize(
    ("lane", "next_at", "words"),
    [
        ({"paused_since": NOW - MINUTE, "paused_by": "otto"}, NOW, f"otto paused the destination 1 min ago; to end the pause: alert-router deliveries resume {KEY}"),
        ({"paused_until": NOW + 30 * SECOND, "pause_reason": "ratelimited", "is_rate_limited": True}, NOW, "the provider takes no more at the moment (ratelimited); it is tried again in 30 s"),
        ({"paused_until": NOW + MINUTE, "pause_reason": "token_revoked"}, NOW, "the destination pauses (token_revoked); it is tried again in 1 min; sooner: alert-router deliveries resume slack:C1"),
        ({}, None, "an attempt is under way"),
        ({}, NOW + 5 * SECOND, "it is tried again in 5 s"),
        ({}, NOW, "the next attempt is due; other messages may go first, at a rate of 1/s burst 1"),
    ],
)  # fmt: skip
def test_a_waiting_answer_says_why(lane: dict[str, object], next_at: int | None, words: str) -> None:
    found = explained(TEST, [{**LANE, **lane}], {KEY: next_at}, NOW)
    assert found.destinations[0].firing.words == words


def test_a_destination_without_a_lane_says_so() -> None:
    assert (
        "does not send to this destination yet" in explained(TEST, [], {}, NOW).destinations[0].firing.words
    )
