"""The rows that the state machine works on. The store's tables have the same columns.

Times are epoch milliseconds. Labels, remote states and similar values are JSON text, so a row is saved unchanged.
"""

from typing import NamedTuple

from router.model import Fate, Millis

OPEN_FATES = (Fate.PENDING, Fate.HELD, Fate.INHIBITED, Fate.DIGEST)
"""The fates of changes that may still be sent to the destination."""

FAILED_OUTCOMES = ("retry", "rejected", "broken", "interrupted")
"""The outcomes of deliveries that did not succeed; ``interrupted``: the process ended before the answer."""

NOTHING, UNKNOWN, FIRING, RESOLVED = "nothing", "unknown", "firing", "resolved"
"""What a destination was notified of; ``unknown``: an attempt is under way, or its answer was lost."""

NOT_FIRING = (NOTHING, RESOLVED)
"""With these values of ``notified``, the destination does not know that the alert fires."""

SEND, HOLD, DIGEST, INHIBITED, DROP, GIVEN_UP = "send", "hold", "digest", "inhibited", "drop", "given_up"
"""The values of a member's ``decision``; ``given_up``: there is a dead letter."""

OPEN, CLOSING, CLOSED = "open", "closing", "closed"
"""The states of a conversation. A large one is ``closing`` while its members are closed in pieces."""

LARGE = 500
"""A conversation with more members than this is large: it is claimed, recorded and closed in pieces."""

OF_GROUP, OF_ALERT, OF_DIGEST, OF_STORM = "group", "alert", "digest", "storm"
"""The kinds of conversations: about an alert group, about a single alert, a slot of a digest, a storm."""


class WebhookRow(NamedTuple):
    id: int
    source: str
    received_at: Millis
    body: bytes
    quarantined: str | None
    """Why the webhook could not be used; None: it was accepted."""
    content_encoding: str | None
    """How the body is compressed; None: not at all."""
    undecided: int | None = None
    """How many alerts it has, until all of them are decided; None: they are decided."""
    sender: str = ""
    """The address that posted it, until it is decided."""
    settled_at: Millis | None = None
    """When an operator settled a quarantined body; None: not yet."""


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
    """The group that reported the alert last."""
    labels: str
    annotations: bytes
    """Packed, see :mod:`router.packed`."""
    links: str
    """JSON: more addresses by name; and under ``values`` what the sender measured, as text."""
    generator_url: str
    status: str
    level: str
    starts_at: Millis | None
    ends_at: Millis | None
    peer: str
    """See :class:`router.core.reduce.Known`, as for ``latest_start`` and the doubt."""
    changed_at: Millis
    seen_at: Millis
    note: str
    """Why the alert counts as ended although no sender resolved it."""
    withheld: str | None
    """Why Alertmanager would not notify of the alert now; None: it would."""
    absent_at: Millis | None
    """When an answer of Alertmanager first lacked the alert (epoch ms); None: the answers have it."""
    fingerprint: str
    about: str | None
    """JSON list, of a self-alert: the keys of destinations that cannot be notified; None: a sender's alert."""
    latest_start: Millis | None
    doubt_until: Millis | None
    doubt: str | None
    """JSON: the doubted firing, and the ids of the groups that reported it."""
    listed_by: str
    """The peers of Alertmanager that have listed the alert, one a line."""
    fires_until: Millis | None
    claimed_firing_at: Millis | None
    """Since when a sender reports the alert as firing although it counts as ended; None: none does."""
    last_change_id: int | None
    arrival: int = 0
    """The number of the latest webhook that reported the alert; reports of earlier webhooks are out of date."""


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
    """The subject of a digest or a storm; empty: a group or an alert, as its token says."""
    episode: int
    group_id: int | None
    """None: a digest or a storm."""
    token: str
    """A hash of destination, source and subject, by which the conversation is found."""
    state: str
    urgency: int
    """The rank of its most urgent alert; 0: critical."""
    priority: int
    """0: critical, 1: it has ends to send, 2: all others."""
    generation: int
    """Counts the changes that concern the conversation."""
    observed_generation: int
    """The generation that the destination was last brought up to."""
    due_at: Millis | None
    """The earliest time at which there may be something to send; None: there is nothing."""
    not_before: Millis
    """The end of the backoff after a failed attempt."""
    next_at: Millis | None
    """The later of ``due_at`` and ``not_before``; None while a delivery is under way."""
    attempts: int
    """How many attempts in a row have failed."""
    tried_since: Millis | None
    """When the first of these attempts began; None: none has."""
    partly: int
    """1: some recipients of the destination were not notified and are tried again; news does not wait for them."""
    remote: str
    """JSON: the remote state that the channel keeps."""
    own_message: int
    """1: the conversation has its own message at the provider; 0: it has none."""
    since: Millis | None
    """A digest reports the period [since, slot)."""
    slot: Millis | None
    created_at: Millis
    key: str
    """The key by which providers know the conversation."""
    revision: str
    """The key by which providers know the state that was sent last."""
    notified_at: Millis | None
    """When the last successful delivery ended."""
    delivery_id: int | None
    """The id of the delivery that is under way; None: there is none."""
    firing: int
    """How many of the members fire."""
    known: int
    """How many members were, or may have been, notified as firing."""
    shown: int
    """How many of the :attr:`known` members still fire."""
    ended: int
    """How many members were notified as resolved."""
    waiting: int
    """How many members have a due time."""
    ends: int
    """How many of the :attr:`waiting` members are ends."""
    size: int = 0
    """How many members the conversation has had."""
    deciding: int | None = None
    """The id of a webhook whose other alerts may concern the conversation; it is not due before. None: there is none."""
    storm_id: int | None = None
    """The id of the storm that notified it last; None: none has."""
    shown_groups: int = 0
    """For a storm: how many groups its message shows as firing."""

    def is_due(self, now: Millis) -> bool:
        """Return whether a delivery of the conversation can begin."""
        return self.next_at is not None and self.next_at <= now

    @property
    def is_large(self) -> bool:
        """Whether the conversation is claimed, recorded and closed in pieces."""
        return self.size > LARGE


class MemberRow(NamedTuple):
    id: int
    conversation_id: int
    alert_id: int
    open: int
    """1: its conversation is open."""
    status: str
    notified: str
    decision: str
    at: Millis | None
    """When the member is due; None: it is not."""
    rule: str
    reason: str
    inhibitor: str | None
    held_since: Millis | None
    failover: int
    """1: it is sent because another destination failed."""
    muted_destination: str | None = None
    """The destination of its conversation, while :attr:`inhibitor` mutes it there; otherwise None. An index counts by it."""

    def is_due(self, now: Millis) -> bool:
        """Return whether the time of the member has come."""
        return self.at is not None and self.at <= now

    @property
    def is_unnotified_firing(self) -> bool:
        """Whether the alert fires, and the destination does not know it."""
        return self.status == FIRING and self.notified in NOT_FIRING


class ChangeRow(NamedTuple):
    id: int
    webhook_id: int
    alert_id: int
    kind: str
    level: str
    at: Millis
    destinations: int
    """How many fates the change has: the ledger compares this with the fates."""
    tenant: str = ""
    """The tenant that it counts for, and its fates; empty: no tenants are configured."""


class FateRow(NamedTuple):
    id: int
    change_id: int
    destination: str
    member_id: int | None
    fate: str
    rule: str
    reason: str
    generation: int
    """The generation of the conversation when the change was accepted."""
    at: Millis
    updated_at: Millis
    configuration: int | None
    """The id of the configuration that decided; None: unknown."""
    decided_at: Millis | None
    """When it was decided; None: with the change."""
    decision: str | None
    """The fate that the decision gave; None: an earlier version of the router did not keep it."""
    because: str | None
    """The reason of the decision; None: see :attr:`decision`."""
    due_at: Millis | None = None
    """When it was, or will be, due at the destination, see :mod:`router.core.due_times`; None: it is not due."""
    urgency: int = 0
    """The rank of the level of the change; 0: critical."""
    tenant: str = ""
    """The tenant of the change."""


class FormerFateRow(NamedTuple):
    """A state of a fate before it was decided again."""

    id: int
    fate_id: int
    at: Millis
    """When the fate got this state (epoch ms)."""
    fate: str
    rule: str
    reason: str
    configuration: int | None


INTERRUPTED = "interrupted"
"""The outcome of a delivery whose answer is not known, because its process ended or lost its lease."""


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
    replica: str = ""
    """The session of the replica that made it."""


class MessageRow(NamedTuple):
    """The message that a delivery sent."""

    id: int
    """The id of the delivery."""
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
    urgency: int = 0
    """The rank of the most urgent alert of its conversation; 0: critical. Lists begin with the most urgent ones."""


class MetaRow(NamedTuple):
    key: str
    value: str


class ConfigurationRow(NamedTuple):
    id: int
    """See :attr:`router.model.Configuration.id`."""
    sha256: str
    at: Millis
    """When the configuration came into force last."""
    positions: bytes
    """JSON: the position of each rule (``file:line``) by its name. Packed, see :mod:`router.packed`."""


class DestinationRow(NamedTuple):
    key: str
    options: str


class FragmentRow(NamedTuple):
    name: str
    text: str
