"""The transitions do what the state table says, in every cell; cells marked as never are not reached."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.table import DIGEST_CELLS, MESSAGE_CELLS, NEVER_IN_DIGESTS, NEVER_IN_MESSAGES, WITHOUT_ENDS
from tests.examples import examples
from tests.unit.core.cell_play import Play
from tests.unit.core.cells import EVENTS, cells, expected, row_of, rows_of, why_never
from tests.unit.core.random_histories import STEPS, RandomHistory, Step

_REACHED = [
    (kind, event)
    for kind, events in EVENTS.items()
    for event in events
    if any(why_never(cell) is None for cell in cells(kind, event))
]


@pytest.mark.parametrize(("kind", "event"), _REACHED)
def test_the_transitions_do_what_the_table_says(kind: str, event: str) -> None:
    reachable = [cell for cell in cells(kind, event) if why_never(cell) is None]
    each = ((cell, Play(cell).run(), expected(cell)) for cell in reachable)
    wrong = [(cell, found, written) for cell, found, written in each if found != written]
    assert not wrong, "\n".join(map(str, wrong[:5]))


def test_every_row_of_the_table_is_the_first_of_some_cell() -> None:
    for kind, events in EVENTS.items():
        reached = [row_of(cell) for event in events for cell in cells(kind, event) if why_never(cell) is None]
        assert [row for row in rows_of(kind) if row not in reached] == []


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2**11 - 1)), min_size=10, max_size=50))
@examples(80)
def test_no_history_meets_a_cell_that_is_marked_as_never(steps: list[Step]) -> None:
    history = RandomHistory()
    for step in steps:
        for cell in history.do(step):
            assert (why := why_never(cell)) is None, (step, cell, why)


def test_the_docs_show_the_tables() -> None:
    page = Path("docs/states.md").read_text()
    assert [
        each
        for each in (MESSAGE_CELLS, WITHOUT_ENDS, DIGEST_CELLS, NEVER_IN_MESSAGES, NEVER_IN_DIGESTS)
        if each not in page
    ] == []
