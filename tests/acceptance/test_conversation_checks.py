"""The checks find each kind of fault in histories that are made up for that."""

from collections.abc import Sequence

import pytest

from tests.acceptance.conversation_checks import Message, State, check, missing

PAGER, CHAT = "pagerduty", "slack"
STATES = [
    State(1, frozenset("a")), State(2, frozenset("ab")), State(3, frozenset("b")), State(4, frozenset()),
    State(5, frozenset("a")),
]  # fmt: skip


def said(*rows: tuple[int | None, int, str], where: str = PAGER) -> list[Message]:
    """Return messages. :param rows: version, number of firing alerts, conversation"""
    return [
        Message(where, "Down", key, version, firing, at) for at, (version, firing, key) in enumerate(rows)
    ]


def problems(messages: Sequence[Message], states: Sequence[State] = STATES) -> list[str]:
    return check({"Down": states}, messages, PAGER).problems


WHOLE = ((1, 1, "k1"), (2, 2, "k1"), (3, 1, "k1"), (None, 0, "k1"), (5, 1, "k2"))


@pytest.mark.parametrize(
    "rows",
    [
        WHOLE,
        (WHOLE[0], WHOLE[0], *WHOLE[3:]),  # states may be left out, and messages repeated
        ((1, 1, "k1"), (5, 1, "k1")),  # the end was not sent before the next firing
        ((5, 1, "k2"),),
        ((1, 1, "k1"), (1, 0, "k1"), (5, 1, "k2")),  # the alert of state 2 began and ended unseen
        ((2, 2, "k1"), (4, 0, "k1"), (None, 0, "k1"), (5, 1, "k2")),
    ],
)
def test_histories_without_a_fault_have_no_problem(rows: tuple[tuple[int | None, int, str], ...]) -> None:
    assert problems(said(*rows)) == []


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ((WHOLE[1], WHOLE[0], *WHOLE[2:]), "state 1 came after state 2"),
        ((WHOLE[3], *WHOLE[:3], WHOLE[4]), "state 1 came after state 4"),  # an end before its trigger
        ((*WHOLE, WHOLE[2]), "state 3 came after state 5"),
        ((*WHOLE, (None, 0, "k2")), "an end without one after state 5"),
        ((*WHOLE, (4, 0, "k2")), "state 4 came after state 5"),
        ((*WHOLE, (5, 0, "k2")), "an end without one after state 5"),
        ((*WHOLE, (6, 1, "k2")), "state 6 was never reported"),
        ((WHOLE[0], (2, 1, "k1"), *WHOLE[2:]), "1 fire in the message about state State(version=2"),
        (WHOLE[:4], "the last message is about state 4, and the last state is State(version=5"),
        ((*WHOLE[:1], (2, 2, "k9"), *WHOLE[3:]), "episode 1 has 2 conversations: ['k1', 'k9']"),
    ],
)
def test_each_fault_is_found(rows: tuple[tuple[int | None, int, str], ...], problem: str) -> None:
    found = problems(said(*rows))
    assert any(problem in each for each in found), found


def test_a_lost_end_is_found() -> None:
    found = problems(said(*WHOLE[:3]), STATES[:4])
    assert found == [f"{PAGER}, Down: the last message is about state 3, and the last state is {STATES[3]}"]


def test_a_group_that_nobody_reported_is_found() -> None:
    assert "which nobody reported" in check({}, said(*WHOLE[:1]), PAGER).problems[0]


def test_a_destination_without_any_message_is_found() -> None:
    everywhere = {"Down": (PAGER, CHAT)}
    assert missing({"Down": STATES}, said(*WHOLE), everywhere) == [
        f"{CHAT}, Down: no message, but ['a'] fire"
    ]
    assert missing({"Down": STATES[:4]}, said(*WHOLE[:4]), everywhere) == []


def test_repeats_are_counted_by_destination() -> None:
    once, again = said(*WHOLE, where=CHAT), said(WHOLE[0], *WHOLE, where=PAGER)
    found = check({"Down": STATES}, [*once, *again], PAGER)
    assert found.problems == []
    assert found.repeats == {PAGER: 1}


def test_a_second_message_is_no_problem_where_nobody_merges() -> None:
    assert check({"Down": STATES[:1]}, said((1, 1, "m1"), (1, 1, "m2"), where=CHAT), PAGER).repeats == {
        CHAT: 1
    }
