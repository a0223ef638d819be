"""A claimed delivery: what one attempt says, and about which members. A claim creates it; recording its
outcome uses it.
"""

from dataclasses import dataclass, field

from router.core.rows import LARGE, RESOLVED, UNKNOWN, ConversationRow
from router.model import Conversation, Millis


@dataclass(frozen=True, slots=True)
class Notice:
    """What a delivery says about one member: its status, and what the destination was notified of before."""

    member: int
    status: str
    notified_before: str
    held: bool
    """The alert was held on purpose, so the delay of the delivery is not measured."""
    rule: str = ""
    """The name of the rule that decided to send it."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which due conversations of a lane the message of a storm absorbs. All others are sent in their own messages."""

    storm: int = 0
    """The id of the storm's conversation; 0: the storm has none yet."""
    absorbs_all: bool = False
    """The storm's message absorbs every due conversation. False: only those that belong to the storm."""
    criticals_stay_separate: bool = False
    """Critical conversations have their own messages. Exception: one that belongs to the storm and has only ends to
    notify.
    """
    edits: bool = False
    """The channel edits messages, so a conversation that already has its own message is updated in that message."""

    def belongs(self, row: ConversationRow) -> bool:
        """Return whether only the storm has notified the conversation, or tried to."""
        return bool(self.storm) and row.storm_id == self.storm and not row.own_message

    def has_own_message(self, row: ConversationRow) -> bool:
        """Return whether the conversation is sent in its own message, not in the storm's."""
        belongs = self.belongs(row)
        if self.criticals_stay_separate and row.urgency == 0 and not (belongs and row.waiting == row.ends):
            return True
        return (self.edits and bool(row.own_message)) if self.absorbs_all else not belongs


NO_STORM = Share()
"""There is no storm, so every conversation has its own message."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """One attempt to bring a conversation up to date, claimed and logged as begun."""

    delivery: int
    """The id of the delivery, which is the record of the attempt."""
    id: int
    """The id of the conversation."""
    group: int | None
    """The id of its alert group; None: it has none, as a digest or a storm."""
    conversation: Conversation
    """The state to send."""
    notices: tuple[Notice, ...]
    """What the message says about each member."""
    tried_since: Millis
    """When the first attempt to send this state began (epoch ms)."""
    urgency: int = 99
    """The rank of its most urgent alert; 0: critical."""
    share: Share | None = None
    """For the message of a storm: which conversations it absorbs. None: this is not a storm."""
    absorbed_by: int = 0
    """The id of the storm's delivery that says it; 0: it has a delivery of its own."""
    parts: tuple["ClaimedDelivery", ...] = ()
    """For the message of a storm: the absorbed conversations. They have no deliveries of their own."""
    before: ConversationRow | None = field(default=None, compare=False, repr=False)
    """The row of the conversation before the claim, to undo the claim."""
    again: bool = False
    """An earlier attempt may have sent the same state. It is set for large conversations, whose notices are recorded in
    pieces and are not in :attr:`notices`.
    """

    @property
    def under_way_as(self) -> int:
        """Return the id of the delivery by which its conversation is under way; 0: none was begun."""
        return self.delivery or self.absorbed_by

    @property
    def may_have_arrived(self) -> bool:
        """Return whether an earlier attempt may have sent the same: its answer was lost, or the process ended."""
        return self.again or any(each.notified_before == UNKNOWN for each in self.notices)

    @property
    def says_only_ends(self) -> bool:
        """Return whether it has news, and all of it is ends."""
        return bool(self.notices) and all(each.status == RESOLVED for each in self.notices)

    @property
    def is_critical(self) -> bool:
        return self.urgency == 0

    @property
    def is_large(self) -> bool:
        """It shows so many alerts that a lane holds only one such delivery in memory."""
        return len(self.conversation.alerts) > LARGE

    @property
    def is_storm(self) -> bool:
        return self.conversation.storm is not None
