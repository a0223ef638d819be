"""The tables of the state machine, with the indexes that find their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from router.core.rows import (
    CLOSING,
    FIRING,
    HOLD,
    NOT_FIRING,
    OF_GROUP,
    OPEN,
    OPEN_FATES,
    AlertRow,
    ChangeRow,
    ConfigurationRow,
    ConversationRow,
    DeadLetterRow,
    DeliveryRow,
    DestinationRow,
    FateRow,
    FormerFateRow,
    FragmentRow,
    GroupRow,
    InhibitorRow,
    MemberRow,
    MessageRow,
    MetaRow,
    WebhookRow,
)
from router.model import Fate

R = TypeVar("R", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class RowIndex:
    """An index of a table. For each key, all of its rows are loaded together, never a part of them."""

    name: str
    columns: tuple[str, ...]
    """The columns whose values are the key; none: all rows are one set."""
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """Values that other columns of the rows must have; ``None`` as the only value: any value but null."""
    ids: bool = False
    """The key is made of ids. A set of an id that this batch created needs no query: no saved row can refer to it."""
    unique: bool = False
    """A key has at most one row, so a set with one row is complete."""
    latest: str | None = None
    """Only the row with the highest value in this column belongs to the set."""


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    name: str
    row: type[R]
    indexes: tuple[RowIndex, ...] = ()
    primary: tuple[str, ...] = ("id",)

    @property
    def columns(self) -> tuple[str, ...]:
        fields: tuple[str, ...] = getattr(self.row, "_fields")  # noqa: B009  (of a NamedTuple)
        return fields


ALL = "all"
_ALL_ROWS = RowIndex(ALL, ())


WEBHOOK_TABLE = Table("webhooks", WebhookRow)

GROUP_TABLE = Table("groups", GroupRow, (RowIndex("key", ("source", "receiver", "group_key"), unique=True),))

ALERT_TABLE = Table(
    "alerts",
    AlertRow,
    (
        RowIndex("identity", ("source", "identity"), unique=True),
        RowIndex("self", ("status",), {"about": (None,)}),
    ),
)

INHIBITOR_TABLE = Table(
    "inhibitors",
    InhibitorRow,
    (RowIndex("key", ("key",)), RowIndex("alert", ("alert_id",), ids=True)),
    ("key", "alert_id"),
)

CONVERSATION_TABLE = Table(
    "conversations",
    ConversationRow,
    (
        RowIndex("token", ("token",), latest="episode"),
        RowIndex("open of group", ("group_id",), {"state": (OPEN,), "kind": (OF_GROUP,)}, ids=True),
        RowIndex("deciding", ("deciding",), {"deciding": (None,)}, ids=True),
        RowIndex("closing", ("state",), {"state": (CLOSING,)}),
        RowIndex("open slots", ("state",), {"state": (OPEN,), "slot": (None,)}),
    ),
)

MEMBER_TABLE = Table(
    "members",
    MemberRow,
    (
        RowIndex("open of alert", ("alert_id",), {"open": (1,)}, ids=True),
        RowIndex("conversation", ("conversation_id",), ids=True),
        RowIndex("pair", ("conversation_id", "alert_id"), ids=True, unique=True),
        RowIndex("muted", ("inhibitor",), {"inhibitor": (None,)}),
        RowIndex(
            "held", ("open",),
            {"open": (1,), "decision": (HOLD,), "status": (FIRING,), "notified": NOT_FIRING},
        ),
    ),
)  # fmt: skip

CHANGE_TABLE = Table("changes", ChangeRow)

FATE_TABLE = Table(
    "fates",
    FateRow,
    (
        RowIndex("open of member", ("member_id",), {"fate": OPEN_FATES}, ids=True),
        RowIndex("dead of member", ("member_id",), {"fate": (Fate.DEAD,)}, ids=True),
        RowIndex("change", ("change_id",), ids=True),
    ),
)

FORMER_FATE_TABLE = Table("former_fates", FormerFateRow)

DELIVERY_TABLE = Table("deliveries", DeliveryRow)

MESSAGE_TABLE = Table("messages", MessageRow)

DEAD_LETTER_TABLE = Table(
    "dead_letters",
    DeadLetterRow,
    (RowIndex("open of conversation", ("conversation_id",), {"state": ("dead",)}, ids=True),),
)

META_TABLE = Table("meta", MetaRow, (), ("key",))

CONFIGURATION_TABLE = Table("configurations", ConfigurationRow)

DESTINATION_TABLE = Table("destinations", DestinationRow, (_ALL_ROWS,), ("key",))

FRAGMENT_TABLE = Table("fragments", FragmentRow, (_ALL_ROWS,), ("name",))


# A table comes before the tables that refer to it.
TABLES: tuple[Table[Any], ...] = (
    META_TABLE, DESTINATION_TABLE, FRAGMENT_TABLE, WEBHOOK_TABLE, GROUP_TABLE, ALERT_TABLE, INHIBITOR_TABLE,
    CONVERSATION_TABLE, MEMBER_TABLE, CHANGE_TABLE, FATE_TABLE, DELIVERY_TABLE, DEAD_LETTER_TABLE, FORMER_FATE_TABLE,
    MESSAGE_TABLE, CONFIGURATION_TABLE,
)  # fmt: skip
