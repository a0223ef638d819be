"""What a message is rendered from: a conversation with its alerts, and the views of a digest and of a storm."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.model.alert import Alert, Labels, Status
from router.model.millis import Millis

# How many alerts whose end was notified a message to people lists; the others are counted.
_MAX_ENDED_LISTED = 50

MAX_INHIBITED_COUNTED = 1_000
"""How far :attr:`Conversation.inhibited` counts; one more means: more than this."""


@dataclass(frozen=True, slots=True)
class ShownAlert:
    """One alert of a conversation, as a message shows it."""

    alert: Alert
    level: str
    news: bool
    """This delivery is the first to show its present status, or repeats it on purpose."""
    held_since: Millis | None = None
    """It was held from this time until now, by business hours or an inhibitor."""
    again: bool = False
    """The news is a repeat (see ``Route.repeat``)."""


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One alert of a digest."""

    alert: Alert
    level: str
    fired: int
    """How often it fired within the digest's period."""
    note: str = ""
    """Held: until when and where; obsolete: why it was not sent; ended: why it counts as ended without a resolve."""
    is_new: bool = False
    """The last digest did not report it: its firing, or, of a held alert, that it is held."""
    opens_at: Millis | None = None
    """Held: when its hours open."""
    source: str = ""
    external_url: str = ""
    """The Alertmanager that sent it."""
    tenant: str = ""
    """Empty: no tenants are configured."""


@dataclass(frozen=True, slots=True)
class DigestView:
    """What a digest reports about its period ``[since, until)``; each alert is in exactly one list."""

    since: Millis
    until: Millis
    firing: tuple[DigestLine, ...] = ()
    ended: tuple[DigestLine, ...] = ()
    flapping: tuple[DigestLine, ...] = ()
    held: tuple[DigestLine, ...] = ()
    obsolete: tuple[DigestLine, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.size

    @property
    def size(self) -> int:
        """How many alerts it lists."""
        return sum(map(len, (self.firing, self.ended, self.flapping, self.held, self.obsolete)))


@dataclass(frozen=True, slots=True)
class StormLine:
    """One group of a storm."""

    labels: Labels
    level: str
    """The level of its most urgent alert."""
    firing: int
    external_url: str
    """The Alertmanager that sent it."""
    names: tuple[str, ...] = ()
    """The names of its alerts; empty: only the labels of the group are known."""
    source: str = ""
    """See :attr:`Conversation.source`."""


@dataclass(frozen=True, slots=True)
class StormNews:
    """The groups with news in one message of a storm. The message names each of them."""

    firing: tuple[StormLine, ...] = ()
    """Groups with newly firing alerts."""
    eased: tuple[StormLine, ...] = ()
    """Groups in which some alerts ended, while others fire."""
    resolved: tuple[StormLine, ...] = ()


@dataclass(frozen=True, slots=True)
class StormView:
    """The content of a storm's message: more is due than can be sent in single messages."""

    groups: int
    """How many of the groups that the storm's messages named still fire."""
    alerts: int
    lines: tuple[StormLine, ...]
    """The worst of the groups that still fire, the most urgent first."""
    over: bool
    """All groups that the storm's messages named have ended; this is the last message."""
    resolved: int = 0
    """How many groups have ended since the storm began."""
    news: StormNews = StormNews()
    more: bool = False
    """This message has no space for all that is due: the next one follows immediately."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one destination knows about one alert group, and what it is to be notified of now.

    A message is rendered from this alone. ``alerts`` has every alert of the group that this destination knows or is to
    know; alerts that are held or inhibited are not in it.
    """

    destination: str
    token: str
    """32 hex digits, the same for every delivery of this conversation; dedup keys are made of it. It depends on the
    random id of the database, so two routers that share a destination do not share keys."""
    episode: int
    """The number of this conversation among those about the same subject, from 1: a group that fires again after its
    end starts the next one.
    """
    version: int
    """The generation of the conversation whose state this delivery sends; it grows with every change."""
    now: Millis
    receiver: str = ""
    group_labels: Labels = field(default_factory=dict)
    external_url: str = ""
    source: str = ""
    """The name of the source that reports the group, if several are configured; otherwise empty."""
    truncated: int = 0
    left_out: int = 0
    """How many alerts whose end was notified are not in ``alerts``, because there are too many."""
    inhibited: int = 0
    """How many other alerts its firing alerts inhibit at this destination, when it is sent. It counts up to one more than
    :data:`MAX_INHIBITED_COUNTED`."""
    alerts: tuple[ShownAlert, ...] = ()
    remote: Mapping[str, Any] = field(default_factory=dict)
    """The remote state that the channel last returned; empty before the first delivery."""
    attempt: int = 1
    digest: DigestView | None = None
    storm: StormView | None = None
    revision: str = ""
    """Names the state that this delivery sends, for providers that drop a state that they have seen. It is the same for
    each attempt at a state, and never used for another state, not even after a backup is restored."""

    @property
    def firing(self) -> tuple[ShownAlert, ...]:
        return tuple(each for each in self.alerts if each.alert.status is Status.FIRING)

    @property
    def resolved(self) -> tuple[ShownAlert, ...]:
        return tuple(each for each in self.alerts if each.alert.status is Status.RESOLVED)

    @property
    def ended(self) -> int:
        """How many alerts have ended, those that are left out included."""
        return len(self.resolved) + self.left_out

    @property
    def listed(self) -> tuple[ShownAlert, ...]:
        """The alerts that people are shown: all firing ones, all news, and the newest whose end was notified before."""
        old = [each for each in self.resolved if not each.news]
        unlisted = set(map(id, old[:-_MAX_ENDED_LISTED]))
        return tuple(each for each in self.alerts if id(each) not in unlisted)

    @property
    def over(self) -> bool:
        """Whether no alert of it fires any more. It is false while Alertmanager leaves out alerts of the group."""
        return not self.firing and self.truncated == 0
