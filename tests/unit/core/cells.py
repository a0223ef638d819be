"""The cells of the state table of a member, and what the table says about each."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from router.core import rows
from router.core.firing import FATE_OF
from router.core.table import DIGEST_CELLS, MESSAGE_CELLS, NEVER_IN_DIGESTS, NEVER_IN_MESSAGES, WITHOUT_ENDS
from router.model import (
    HOUR,
    DecisionKind,
    Fate,
    Millis,
)

NOW: Millis = 1_795_435_200_000
PASSED, LATER = NOW - 7, NOW + 3 * HOUR
OPENING = NOW + HOUR
_ANY, _SAME = "*", "="
OPEN_FATE = str(Fate.HELD)
_DECISIONS = (rows.SEND, rows.HOLD, rows.DIGEST, rows.INHIBITED, rows.DROP, rows.GIVEN_UP)
_NOTIFIED = (rows.NOTHING, rows.UNKNOWN, rows.FIRING, rows.RESOLVED)
_STATUSES = (rows.FIRING, rows.RESOLVED)
DUE: Mapping[str, Millis | None] = {"none": None, "now": PASSED, "later": LATER}
JUDGED = tuple(f"{how}: {kind}" for how, kind in product(("fires", "repeats", "judged"), DecisionKind))
_ATTEMPTS = ("delivered", "failed", "in doubt", "given up")
_IN_MESSAGES = (
    *JUDGED, "resolves", "resolves: given up", "unrouted", "claimed", *_ATTEMPTS, "delivered late", "given up late",
    "again: firing", "again: end", "again: recipient", "discarded", "shown whole",
)  # fmt: skip
EVENTS = {
    "messages": _IN_MESSAGES,
    "without ends": (*_IN_MESSAGES, "resolves: under way"),
    "digests": (
        *JUDGED, "resolves", "unrouted", "claimed", *_ATTEMPTS, "again: firing", "again: end", "again: recipient",
        "discarded",
    ),
}  # fmt: skip
"""The events of a member, by the kind of its conversation."""
_KNEW = ("failed", "given up", "given up late", "again: firing", "again: end")


class Member(NamedTuple):
    """The columns of a member in the table."""

    decision: str
    notified: str
    status: str
    due: str


class Cell(NamedTuple):
    kind: str
    event: str
    before: Member
    knew: str

    @property
    def settles(self) -> bool:
        """Whether the event settles a dead letter."""
        return self.event == "discarded" or self.event.startswith("again")


class After(NamedTuple):
    decision: str
    notified: str
    status: str
    at: Millis | None
    change: str
    """Empty: no change is reported."""
    fates: str
    since: str


def _parsed(text: str) -> list[list[str]]:
    lines = text.strip().splitlines()[2:]
    return [[each.strip() for each in line.strip("|").split("|")] for line in lines]


_OWN_ROWS = {
    "messages": _parsed(MESSAGE_CELLS), "without ends": _parsed(WITHOUT_ENDS), "digests": _parsed(DIGEST_CELLS)
}  # fmt: skip
_BECOMES = {**_OWN_ROWS, "without ends": [*_OWN_ROWS["without ends"], *_OWN_ROWS["messages"]]}
_NEVER = {
    "messages": _parsed(NEVER_IN_MESSAGES), "without ends": _parsed(NEVER_IN_MESSAGES),
    "digests": _parsed(NEVER_IN_DIGESTS),
}  # fmt: skip


def _matches(row: list[str], cell: Cell) -> bool:
    return all(
        written == _ANY
        or not {found, found.partition(": ")[0] if number == 0 else found}.isdisjoint(written.split(", "))
        for number, (written, found) in enumerate(
            zip(row[:6], (cell.event, *cell.before, cell.knew), strict=True)
        )
    )


def why_never(cell: Cell) -> str | None:
    """Return why a cell cannot be reached; None: it can."""
    return next((row[6] for row in _NEVER[cell.kind] if _matches(row, cell)), None)


def rows_of(kind: str) -> list[list[str]]:
    """The rows of its own table."""
    return _OWN_ROWS[kind]


def row_of(cell: Cell) -> list[str]:
    return next(row for row in _BECOMES[cell.kind] if _matches(row, cell))


def expected(cell: Cell) -> After:
    row = row_of(cell)
    decision, notified, status, due, change, fates, since = row[7:]
    before, kind = cell.before, cell.event.partition(": ")[2]
    judged = cell.event in JUDGED
    fate = str(FATE_OF[DecisionKind(kind)]) if judged else ""
    at = DUE[before.due]
    times = {
        _SAME: at, "none": None, "now": NOW,
        "judged": {"send": NOW, "hold": OPENING}.get(kind),
        "earlier": NOW if at is None else min(NOW, at),
    }  # fmt: skip
    sent = before.status if cell.event == "delivered" else other(before.status)
    return After(
        {_SAME: before.decision, "judged": kind}.get(decision, decision),
        {_SAME: before.notified, "knew": cell.knew, "sent": sent}.get(notified, notified),
        before.status if status == _SAME else status,
        times[due],
        "" if cell.event.startswith("judged") else {"judged": fate}.get(change, change),
        {_SAME: str(Fate.DEAD) if cell.settles else OPEN_FATE, "judged": fate}.get(fates, fates),
        {_SAME: OPEN_FATE, "judged": fate}.get(since, since),
    )


def cells(kind: str, event: str) -> Iterator[Cell]:
    for before in product(_DECISIONS, _NOTIFIED, _STATUSES, DUE):
        for knew in _NOTIFIED if event in _KNEW else ("",):
            yield Cell(kind, event, Member(*before), knew)


def other(status: str) -> str:
    return rows.RESOLVED if status == rows.FIRING else rows.FIRING
