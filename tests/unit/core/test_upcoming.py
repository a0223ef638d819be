"""What is due next at a destination, by saved rows that a batch has changed since."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router.core.claimed_delivery import NO_STORM, Share
from router.core.conversations import open_conversation
from router.core.rows import OF_GROUP, ConversationRow, MetaRow
from router.core.state import State
from router.core.upcoming import NEXT_DUE, Upcoming, Wanted, next_due
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


def values() -> st.SearchStrategy[dict[str, Any]]:
    times = st.none() | st.integers(1, 20)
    return st.fixed_dictionaries(
        {
            "destination": st.sampled_from((HERE, HERE, HERE, ELSEWHERE)),
            "priority": st.integers(0, 2),
            "next_at": times,
            "due_at": times,
            "storm_id": st.sampled_from((None, 7)),
            "own_message": st.integers(0, 1),
        }
    )


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
    there = sorted(
        (each for each in rows if wanted.covers(each)), key=lambda each: (each.next_at or 0, each.id)
    )
    due = [
        each for each in there if each.next_at is not None and (wanted.by is not None or each.next_at <= NOW)
    ]
    first = [each for each in due if each.priority][:1] if others_first else []
    rest = sorted((each for each in due if each not in first), key=lambda each: each.priority)
    found = [each.id for each in (*first, *rest)[: wanted.limit]]
    return found, next((each.next_at for each in there if each.id not in found), None)


@given(
    st.lists(values(), max_size=12),
    st.lists(st.builds(Change, st.integers(1, 16), values()), max_size=6),
    st.sampled_from(SHARES),
    st.none() | st.integers(1, 20),
    st.integers(1, 4),
    st.booleans(),
)
@examples(300)
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
    found, until = next_due(state, wanted, NOW, others_first=others_first)
    after = [each for each in old if each.id not in new] + list(new.values())
    all_due, all_until = by_all_rows(after, wanted, others_first=others_first)
    if (found, until) == (all_due, all_until):
        return
    # The batch has changed rows of those that were read, so others that were not read may follow.
    assert any(each.id in new for each in answer)
    in_order, _ = by_all_rows(after, wanted, others_first=False)
    assert found in (all_due[: len(found)], in_order[: len(found)])
    if len(found) < len(all_due):
        assert until is not None
        assert until <= NOW
    elif all_until is not None:
        assert until is not None
        assert until <= max(all_until, NOW)


def test_conversations_behind_those_that_were_read_are_looked_for_again() -> None:
    """More was due than a claim reads, and the batch has changed all that it read."""
    wanted = Wanted(HERE, NO_STORM, 2)
    due = {"destination": HERE, "priority": 0, "next_at": 1, "due_at": 1}
    old = [row(number, due) for number in range(1, 6)]
    changed = [each._replace(next_at=None) for each in old[:3]]
    state, _ = in_batch(old, changed, wanted)
    assert next_due(state, wanted, NOW, others_first=False) == ([], 1)


def test_nothing_less_urgent_goes_before_what_was_not_read() -> None:
    wanted = Wanted(HERE, NO_STORM, 2)
    urgent = {"destination": HERE, "priority": 0, "next_at": 5, "due_at": 5}
    old = [row(number, urgent) for number in range(1, 5)] + [row(9, {**urgent, "priority": 2, "next_at": 1})]
    changed = [each._replace(next_at=None) for each in old[:2]]
    state, _ = in_batch(old, changed, wanted)
    assert next_due(state, wanted, NOW, others_first=False) == ([3], 1)
    assert next_due(state, wanted, NOW, others_first=True) == ([9, 3], 5)
