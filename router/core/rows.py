"""The rows that the state machine works on, and how they are found. The store's tables have the same columns.

Times are epoch milliseconds. Labels, remote states and the like are JSON text, so that a row is saved as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from router.model import Fate, Millis

R = TypeVar("R", bound=tuple[Any, ...])

OPEN_FATES = (Fate.PENDING, Fate.HELD, Fate.INHIBITED, Fate.DIGEST)
"""Of changes that a destination may still be notified of."""

NOTHING, UNKNOWN, FIRING, RESOLVED = "nothing", "unknown", "firing", "resolved"
"""What a destination was notified of: unknown while an attempt is under way, and after a lost answer."""

NOT_FIRING = (NOTHING, RESOLVED)
"""A destination that was notified of these does not know that an alert fires."""

SEND, HOLD, DIGEST, INHIBITED, DROP, GIVEN_UP = "send", "hold", "digest", "inhibited", "drop", "given_up"
"""The decisions of members; ``given_up``: there is a dead letter."""

OPEN, CLOSING, CLOSED = "open", "closing", "closed"
"""Of conversations. One of very many members is closing while those are marked, in pieces."""

LARGE = 500
"""Members. What a conversation of more is about is claimed, recorded and closed in pieces."""

OF_GROUP, OF_ALERT, OF_DIGEST, OF_STORM = "group", "alert", "digest", "storm"
"""The kinds of conversations: about an alert group, about a single alert of one, a slot of a digest, a storm."""


class WebhookRow(NamedTuple):
    id: int
    source: str
    received_at: Millis
    body: bytes
    quarantined: str | None
    """Why it could not be used; None: it was accepted."""
    content_encoding: str | None
    """How the body is compressed; None: it is not."""
    undecided: int | None = None
    """How many alerts it has, as long as not all of them are decided; None: they are."""
    sender: str = ""
    """The address that posted it, as long as it is undecided."""


class GroupRow(NamedTuple):
    id: int
    source: str
    receiver: str
    group_key: str
    labels: str
    external_url: str
    truncated: int


class AlertRow(NamedTuple):
    id: int
    source: str
    identity: str
    group_id: int
    """The group that reported it last."""
    labels: str
    annotations: bytes
    """Packed, see :mod:`router.packed`."""
    links: str
    generator_url: str
    status: str
    level: str
    starts_at: Millis | None
    ends_at: Millis | None
    peer: str
    changed_at: Millis
    seen_at: Millis
    note: str
    """Why it counts as ended though nobody resolved it."""
    withheld: str | None
    """Why Alertmanager would not notify of it now; None: it would."""
    absent_at: Millis | None
    """Since when Alertmanager's answers lack it."""
    fingerprint: str
    about: str | None
    """Of a self-alert: the destinations that can't be notified; None: a sender's alert."""
    latest_start: Millis | None
    doubt_until: Millis | None
    doubt: str | None
    listed_by: str
    fires_until: Millis | None
    claimed_firing_at: Millis | None
    last_change_id: int | None
    arrival: int = 0
    """The latest webhook that reported it: what an earlier one says of it is out of date."""


class InhibitorRow(NamedTuple):
    key: str
    alert_id: int
    two_sided: int


class ConversationRow(NamedTuple):
    id: int
    destination: str
    source: str
    kind: str
    subject: str
    """Of a digest or a storm; empty: the group or the alert of its token."""
    episode: int
    group_id: int | None
    """None: a digest or a storm."""
    token: str
    """A hash of destination, source and subject: how it is found."""
    state: str
    urgency: int
    """Rank of its most urgent alert."""
    priority: int
    """0: critical, 1: it has ends to notify of, 2: the rest."""
    generation: int
    """Counts the changes that concern it."""
    observed_generation: int
    """The generation that the destination was last brought up to."""
    due_at: Millis | None
    """When there may be something to notify of, at the earliest; None: there is nothing."""
    not_before: Millis
    """The end of the backoff after a failed attempt."""
    next_at: Millis | None
    """The later of the two; None while a delivery is under way."""
    attempts: int
    """Failed ones in a row."""
    tried_since: Millis | None
    """When the first of them began."""
    partly: int
    """1: all but some recipients were notified; news don't wait for those."""
    remote: str
    """What the channel keeps of it."""
    own_message: int
    """1: the channel keeps something of a message of its own there; 0: of none."""
    since: Millis | None
    """A digest reports [since, slot)."""
    slot: Millis | None
    created_at: Millis
    key: str
    """How providers know it."""
    revision: str
    """How providers know the state that was sent last."""
    notified_at: Millis | None
    """When the last delivery ended that got through."""
    delivery_id: int | None
    """The delivery that is under way."""
    firing: int
    """How many of its members fire."""
    known: int
    """How many the destination was, or may have been, notified of as firing."""
    shown: int
    """How many of those still fire."""
    ended: int
    """How many it was notified of as resolved."""
    waiting: int
    """How many have a time at which they are due."""
    ends: int
    """How many of those are ends."""
    size: int = 0
    """How many members it has had."""
    deciding: int | None = None
    """The webhook of which more alerts may concern it; nothing is due before. None: there is none."""
    storm_id: int | None = None
    """The storm that told of it last; None: none has."""
    shown_groups: int = 0
    """Of a storm: how many groups its message shows as firing."""


class MemberRow(NamedTuple):
    id: int
    conversation_id: int
    alert_id: int
    open: int
    """Whether its conversation is."""
    status: str
    notified: str
    decision: str
    at: Millis | None
    """When it is due; None: it is not."""
    rule: str
    reason: str
    inhibitor: str | None
    held_since: Millis | None
    failover: int
    """1: it goes out instead of what a destination that failed could not say."""


class ChangeRow(NamedTuple):
    id: int
    webhook_id: int
    alert_id: int
    kind: str
    level: str
    at: Millis
    destinations: int
    """How many fates it has: the other side of the ledger."""


class FateRow(NamedTuple):
    id: int
    change_id: int
    destination: str
    member_id: int | None
    fate: str
    rule: str
    reason: str
    generation: int
    """The conversation's, when the change was accepted."""
    at: Millis
    updated_at: Millis
    configuration: int | None
    """The configuration that its decision was made by; None: it is not known."""
    decided_at: Millis | None
    """When its decision was made; None: with the change."""
    decision: str | None
    """The fate that its decision gave it; None: a former version did not keep it."""
    because: str | None
    """The reason of its decision; None: as ``decision``."""


class FormerFateRow(NamedTuple):
    """What a fate was before it was decided again."""

    id: int
    fate_id: int
    at: Millis
    """Since when."""
    fate: str
    rule: str
    reason: str
    configuration: int | None


class DeliveryRow(NamedTuple):
    id: int
    conversation_id: int
    destination: str
    generation: int
    attempt: int
    started_at: Millis
    finished_at: Millis | None
    outcome: str | None
    """None: under way."""
    reason: str
    words: str


class MessageRow(NamedTuple):
    """What a delivery sent."""

    id: int
    """The delivery's."""
    body: bytes
    """Packed, see :mod:`router.packed`."""


class DeadLetterRow(NamedTuple):
    id: int
    conversation_id: int
    destination: str
    at: Millis
    reason: str
    state: str
    settled_at: Millis | None
    notices: str
    recipient: str


class MetaRow(NamedTuple):
    key: str
    value: str


class ConfigurationRow(NamedTuple):
    id: int
    """See :attr:`router.model.Configuration.id`."""
    sha256: str
    at: Millis
    """When it came into force last."""
    positions: bytes
    """JSON: where each rule stands, by its name. Packed, see :mod:`router.packed`."""


class DestinationRow(NamedTuple):
    key: str
    options: str


class FragmentRow(NamedTuple):
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RowIndex:
    """A set of rows that is loaded whole by a key."""

    name: str
    columns: tuple[str, ...]
    """Their values are the key; none: all rows are one set."""
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """The values that other columns of its rows have; ``None`` as the only one: any but null."""
    ids: bool = False
    """The key is made of ids: nothing in the database refers to an id that was given in this batch."""
    unique: bool = False
    """A key has one row at most: a set that has it is whole."""
    latest: str | None = None
    """Only the row with the highest value in this column belongs to it."""


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
_ALL = RowIndex(ALL, ())

WEBHOOKS = Table("webhooks", WebhookRow)
GROUPS = Table("groups", GroupRow, (RowIndex("key", ("source", "receiver", "group_key"), unique=True),))
ALERTS = Table(
    "alerts",
    AlertRow,
    (
        RowIndex("identity", ("source", "identity"), unique=True),
        RowIndex("self", ("status",), {"about": (None,)}),
    ),
)
INHIBITORS = Table(
    "inhibitors",
    InhibitorRow,
    (RowIndex("key", ("key",)), RowIndex("alert", ("alert_id",), ids=True)),
    ("key", "alert_id"),
)
CONVERSATIONS = Table(
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
MEMBERS = Table(
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
CHANGES = Table("changes", ChangeRow)
FATES = Table(
    "fates",
    FateRow,
    (
        RowIndex("open of member", ("member_id",), {"fate": OPEN_FATES}, ids=True),
        RowIndex("dead of member", ("member_id",), {"fate": (Fate.DEAD,)}, ids=True),
        RowIndex("change", ("change_id",), ids=True),
    ),
)
FORMER_FATES = Table("former_fates", FormerFateRow)
DELIVERIES = Table("deliveries", DeliveryRow)
MESSAGES = Table("messages", MessageRow)
DEAD_LETTERS = Table(
    "dead_letters",
    DeadLetterRow,
    (RowIndex("open of conversation", ("conversation_id",), {"state": ("dead",)}, ids=True),),
)
META = Table("meta", MetaRow, (), ("key",))
CONFIGURATIONS = Table("configurations", ConfigurationRow)
DESTINATIONS = Table("destinations", DestinationRow, (_ALL,), ("key",))
FRAGMENTS = Table("fragments", FragmentRow, (_ALL,), ("name",))

# What is referred to comes before what refers to it.
TABLES: tuple[Table[Any], ...] = (
    META, DESTINATIONS, FRAGMENTS, WEBHOOKS, GROUPS, ALERTS, INHIBITORS, CONVERSATIONS, MEMBERS, CHANGES, FATES,
    DELIVERIES, DEAD_LETTERS, FORMER_FATES, MESSAGES, CONFIGURATIONS,
)  # fmt: skip
