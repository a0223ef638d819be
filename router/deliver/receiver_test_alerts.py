"""What a test of a receiver posts, and the words about it. Pure."""

import hashlib
from collections.abc import Sequence

from router.decide import RECEIVER_LABEL, TEST_ALERTNAME
from router.model import Alert, Millis, ReceiverTest, Status, TestRefused, TestRequest

MAX_UNDER_WAY = 20
"""How many tests of operators may be under way."""


def refuse_if_full(request: TestRequest, under_way: Sequence[ReceiverTest]) -> None:
    """:raises TestRefused: a test of the receiver is under way, or too many of others"""
    for each in under_way:
        if each.receiver == request.receiver:
            raise TestRefused(
                f"a test of {request.receiver} is under way already, by {each.by or 'the drill'}: wait until it has finished; "
                f"its id is {each.id}"
            )
    if len(under_way) >= MAX_UNDER_WAY:
        raise TestRefused(f"{MAX_UNDER_WAY} tests are under way; try again when one has finished")


def version_of(test: ReceiverTest) -> str:
    return hashlib.sha256(repr(test).encode()).hexdigest()[:12]


def first_bad_words(test: ReceiverTest) -> str:
    """Return what the first destination that did not take both messages answered; empty: all did."""
    for each in test.destinations:
        bad = next((answer for answer in (each.firing, each.end) if not answer.is_good), None)
        if bad is not None:
            return f"{each.key}: {bad.words or bad.state}"
    return ""


def labels_of_test(test: ReceiverTest) -> dict[str, str]:
    return {
        "alertname": TEST_ALERTNAME, test.severity_label: test.severity, RECEIVER_LABEL: test.receiver, "test": test.id,
    }  # fmt: skip


def alert_of_test(test: ReceiverTest, status: Status, now: Millis) -> Alert:
    by = f"{test.by} has sent it" if test.by else "The drill of routes.yaml has sent it"
    firing = {
        "summary": f"This is a TEST of the receiver {test.receiver}. Nothing is wrong. You need not do anything.",
        "description": f"{by} to see whether messages arrive. The end of the test follows when all destinations have "
        "answered.",
    }
    ended = {"summary": f"The TEST of the receiver {test.receiver} has ended. You need not do anything."}
    is_firing = status is Status.FIRING
    return Alert(
        hashlib.sha256(test.id.encode()).hexdigest()[:16], labels_of_test(test), firing if is_firing else ended, status,
        test.started_at, None if is_firing else now, about=frozenset(),
    )  # fmt: skip
