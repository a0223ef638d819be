"""What is due next at a destination, by saved rows that a batch has changed since."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router.core.claimed_delivery import NO_STORM, Share
from router.core.conversations import open_conversation
from router.core.rows import OF_GROUP, ConversationRow, MetaRow
from router.core.state import State
from router.core.upcoming import NEXT_DUE, Upcoming, Wanted, look
from router.model import Millis
from tests.examples import examples
from tests.unit.core import oracle

HERE, ELSEWHERE = "slack:C0CRITICAL", "pagerduty:one"
NOW = 10
SHARES = (NO_STORM, Share(7), Share(7, absorbs_all=True, edits=True))


@dataclass(frozen=True)
class Change:
    """The values that a batch gives to a conversation. With a number that no saved one has: a new conversation."""

    number: int
    values: dict[str, Any]


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    due_at, priority = draw(st.none() | st.integers(1, 20)), draw(st.integers(0, 2))
    waits_until, is_under_way = draw(st.integers(0, 20)), draw(st.booleans())
    return {
        "destination": draw(st.sampled_from((HERE, HERE, HERE, ELSEWHERE))),
        "priority": priority,
        "urgency": 0 if priority == 0 else 2,
        "due_at": due_at,
        "not_before": waits_until,
        "next_at": None if due_at is None or is_under_way else max(due_at, waits_until),
        "storm_id": draw(st.sampled_from((None, 7))),
        "own_message": draw(st.integers(0, 1)),
    }


def row(number: int, given_: dict[str, Any]) -> ConversationRow:
    state = State(complete=True)
    state.meta.put(MetaRow("id", "database"))
    made, _ = open_conversation(state, HERE, "default", OF_GROUP, str(number), NOW)
    return made._replace(id=number, **given_)


def in_batch(
    saved: list[ConversationRow], changed: list[ConversationRow], wanted: Wanted
) -> tuple[State, list[Upcoming]]:
    """Return the state of a batch that has changed saved rows, and knows what was due before; and what that was."""
    before = State(complete=True)
    for each in saved:
        before.conversations.put(each)
    answer = oracle.answer(before, NEXT_DUE, wanted)
    state = State()
    state.conversations.load("id", [each.id for each in (*saved, *changed)], saved)
    for each in changed:
        state.conversations.put(each)
    state.answers[NEXT_DUE, wanted] = answer
    return state, answer


def by_all_rows(
    rows: list[ConversationRow], wanted: Wanted, *, others_first: bool
) -> tuple[list[int], Millis | None]:
    """The specification: what is due next, by all rows as they are now."""
    waiting = [(each, each.next_at) for each in rows if each.next_at is not None and wanted.covers(each)]
    there = [each for each, _ in sorted(waiting, key=lambda each: (each[1], each[0].id))]
    due = [each for each in there if wanted.by is not None or each.is_due(NOW)]
    first = [each for each in due if each.priority][:1] if others_first else []
    rest = sorted((each for each in due if each not in first), key=lambda each: each.priority)
    found = [each.id for each in (*first, *rest)[: wanted.limit]]
    return found, next((each.next_at for each in there if each.id not in found), None)


def of_rows(rows: Iterable[ConversationRow], query: str, key: Any) -> Any:
    """Return the answer of a query by these rows."""
    state = State(complete=True)
    for each in rows:
        state.conversations.put(each)
    return oracle.answer(state, query, key)


SAVED = st.lists(values(), max_size=12)
CHANGES = st.lists(st.builds(Change, st.integers(1, 16), values()), max_size=12)


@given(
    SAVED, CHANGES, st.sampled_from(SHARES), st.none() | st.integers(1, 20), st.integers(1, 4), st.booleans()
)
@examples(500)
def test_it_is_what_the_rows_say_or_the_beginning_of_it(
    saved: list[dict[str, Any]],
    changes: list[Change],
    share: Share,
    by: Millis | None,
    limit: int,
    others_first: bool,
) -> None:
    wanted = Wanted(HERE, share, limit, by)
    old = [row(number, each) for number, each in enumerate(saved, 1)]
    new = {each.number: row(each.number, each.values) for each in changes}
    state, answer = in_batch(old, list(new.values()), wanted)
    found, until = look(state, wanted, NOW).first(limit, NOW, others_first=others_first)
    after = [each for each in old if each.id not in new] + list(new.values())
    all_due, all_until = by_all_rows(after, wanted, others_first=others_first)
    if (found, until) == (all_due, all_until):
        return
    # The batch has changed rows of those that were read, so others that were not read may follow.
    assert any(each.id in new for each in answer)
    in_order, _ = by_all_rows(after, wanted, others_first=False)
    assert found in (all_due[: len(found)], in_order[: len(found)])
    if found != all_due:
        assert until is not None
        assert until <= NOW
    elif all_until is not None:
        assert until is not None
        assert until <= max(all_until, NOW)


@given(SAVED, CHANGES, st.integers(1, 12), st.integers(0, 4), st.booleans())
@examples(500)
def test_how_much_is_due_and_when_is_what_the_rows_say(
    saved: list[dict[str, Any]], changes: list[Change], limit: int, above: int, edits: bool
) -> None:
    wanted = Wanted(HERE, NO_STORM, limit)
    old = [row(number, each) for number, each in enumerate(saved, 1)]
    new = {each.number: row(each.number, each.values) for each in changes}
    state, answer = in_batch(old, list(new.values()), wanted)
    queue = look(state, wanted, NOW)
    after = [each for each in old if each.id not in new] + list(new.values())
    surge, time = queue.surge(above, edits=edits), queue.next_time(NOW)
    assert surge in {None, of_rows(after, "surge", (HERE, NOW, 0, edits, above))}
    assert time in {None, of_rows(after, "next time", (HERE, NOW))}
    if len(answer) <= limit:
        assert surge is not None
        assert time is not None


def due(number: int, priority: int, at: Millis) -> ConversationRow:
    return row(number, {"destination": HERE, "priority": priority, "next_at": at, "due_at": at})


def first_of(
    old: list[ConversationRow], sent: set[int], limit: int, *, others_first: bool = False
) -> tuple[list[int], Millis | None]:
    """Return what is due next after a batch has begun the deliveries of some conversations."""
    wanted = Wanted(HERE, NO_STORM, limit)
    state, _ = in_batch(old, [each._replace(next_at=None) for each in old if each.id in sent], wanted)
    return look(state, wanted, NOW).first(limit, NOW, others_first=others_first)


def test_conversations_behind_those_that_were_read_are_looked_for_again() -> None:
    """More was due than a claim reads, and the batch has changed all that it read."""
    assert first_of([due(number, 0, 1) for number in range(1, 6)], {1, 2, 3}, 2) == ([], 1)


def test_nothing_less_urgent_goes_before_what_was_not_read() -> None:
    old = [*(due(number, 0, 5) for number in range(1, 5)), due(9, 2, 1)]
    assert first_of(old, {1, 2}, 2) == ([3], 1)
    assert first_of(old, {1, 2}, 2, others_first=True) == ([9, 3], 5)


def test_nothing_newer_counts_as_the_one_that_waits_longest() -> None:
    """The batch has changed all that was read of those that wait longer."""
    old = [*(due(number, 1, number) for number in range(1, 4)), due(9, 2, 5)]
    assert first_of(old, {1, 2}, 1, others_first=True) == ([], 2)
    assert first_of(old, {1}, 1, others_first=True) == ([2], 2)
