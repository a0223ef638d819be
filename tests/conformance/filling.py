"""Rows with odd values for every table, the same ones each time."""

from random import Random
from typing import Any

from router.core import indexes
from router.core.indexes import Table
from router.core.state import State

COUNT = 80
"""How many rows a table has: enough for each set that is loaded."""
DESTINATIONS = ("slack:C0CRITICAL", "email:a@b,ü@c", "")
TEXTS = (
    "",
    "a",
    "Ä",
    "a ",
    "%",
    "%s %(x)s",
    "'",
    '"',
    "\\u0041",
    "\t\n\x7f",
    "\ufffd",
    "🙂 é e\u0301",
    "x" * 50_000,
)
TIMES = (0, 1, 1_795_435_200_000, 2**53 + 1, 2**63 - 1, -(2**63))

# Values that the store searches by, or that constraints require.
_WORDS: dict[str, tuple[str, ...]] = {
    "destination": DESTINATIONS,
    "source": ("default", "am-2"),
    "status": ("firing", "resolved"),
    "notified": ("nothing", "unknown", "firing", "resolved"),
    "decision": ("send", "hold", "digest", "inhibited", "drop", "given_up"),
    "fate": ("pending", "held", "inhibited", "digest", "delivered", "obsolete", "dropped", "dead"),
    "kind": ("fired", "resolved", "repeated"),
    "state": ("open", "open", "closing", "closed", "dead", "retried"),
    "remote": ("{}", '{"ts": "1"}'),
    "labels": ('{"alertname": "A"}', '{"alertname": "🙂 \\u0000"}'),
    "inhibitor": ("key 0", "key 1"),
}
_SMALL = frozenset({"open", "priority", "urgency", "partly", "truncated", "two_sided", "attempts", "destinations",
                    "firing", "known", "shown", "ended", "waiting", "ends", "storm_id"})  # fmt: skip
_REFERENCES = {
    "group_id": "groups", "webhook_id": "webhooks", "alert_id": "alerts", "conversation_id": "conversations",
    "change_id": "changes", "member_id": "members", "deciding": "webhooks", "fate_id": "fates",
}  # fmt: skip


def ids(table: str) -> range:
    """The rows that :func:`fill` makes for a table."""
    numbered = [each.name for each in indexes.TABLES if each.primary == ("id",)]
    first = 1 + COUNT * numbered.index(table)
    return range(first, first + COUNT)


def fill(state: State, seed: int = 2) -> None:
    """Every table of a complete state."""
    for table in indexes.TABLES:
        dice = Random(f"{seed} {table.name}")  # so that a new column changes no rows of other tables
        for number in range(COUNT):
            row = [_value(state, table, name, number, dice) for name in table.columns]
            getattr(state, table.name).put(table.row._make(row))


def _value(  # noqa: C901, PLR0911  (one a column)
    state: State, table: Table[Any], name: str, number: int, dice: Random
) -> Any:
    match table.name, name:
        case "messages", "id":
            return list(state.deliveries)[number].id
        case _, "id":
            return state.new_id()
        case "members", "conversation_id":  # a pair is there once
            return list(state.conversations)[number // 4].id
        case "members", "alert_id":
            return list(state.alerts)[number % 4].id
        case "members", "muted_destination":
            return DESTINATIONS[number % len(DESTINATIONS)]
        case "inhibitors", "alert_id":
            return list(state.alerts)[number].id
        case "inhibitors", "key":
            return f"key {number % 3}"
        case "conversations", "token":
            return f"token {number // 2}"
        case "conversations", "kind":
            return dice.choice(("group", "alert", "digest", "storm"))
        case "conversations", "episode":
            return number
        case (_, "identity" | "group_key" | "name") | ("meta" | "destinations", "key"):
            return f"{number} {dice.choice(TEXTS[:-1])}"
    hint = str(table.row.__annotations__[name])
    if name in _REFERENCES and dice.random() < (0.8 if "None" in hint else 1):
        return dice.choice(list(getattr(state, _REFERENCES[name]))).id
    return _any(hint, name, dice)


def _any(hint: str, name: str, dice: Random) -> Any:
    if "None" in hint and (name in _REFERENCES or dice.random() < 0.4):
        return None
    if "bytes" in hint:
        return dice.choice((b"", b"\x00\xff", b'{"a": 1}', dice.randbytes(3_000)))
    if "int" in hint:
        return dice.choice((0, 1) if name in _SMALL else TIMES)
    return dice.choice(_WORDS.get(name, TEXTS))
