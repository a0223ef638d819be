"""What a channel is: one file with its options, its limits, its error table, and these three methods."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from markupsafe import Markup
from pydantic import BaseModel, BeforeValidator, ConfigDict

from router.channels.drawing import SentMessage, draw_json
from router.channels.importing import ChannelImport
from router.channels.limits import Concurrency, RateSetting, StormAbove, chosen
from router.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Conversation,
    Destination,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    SharedLimits,
)
from router.render import Templates

_UNITS: dict[str, Millis] = {
    "ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY,
}  # fmt: skip
_UNLIMITED = SharedLimits()
_LONGEST = 100 * _UNITS["y"]
# A word that stands for a secret that is not there, in a check and in the preview. No address looks like it.
_PLACEHOLDER = re.compile(r"[^\s:/]{32}")
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")


class Section(BaseModel):
    """A piece of routes.yaml that a channel reads. Errors don't show what was given: it may be a secret."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True, str_min_length=1
    )


def is_placeholder(secret: str) -> bool:
    """Return whether a text may stand for a secret that is not there; see :func:`router.config.document.placeholder`."""
    return _PLACEHOLDER.fullmatch(secret) is not None


def duration(value: Any) -> Millis:
    """Prometheus' durations: https://github.com/prometheus/common/blob/main/model/time.go

    :raises ValueError: it is none
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text == "0":
        return 0
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError("is no duration; write it like 30s, 5m or 1h30m")
    span = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdwy])", text))
    if span > _LONGEST:
        raise ValueError("is longer than a hundred years")
    return span


Duration = Annotated[Millis, BeforeValidator(duration)]


class ChannelSettings(Section):
    """What every section of ``channels:`` has."""

    give_up_after: Duration = DAY
    """How long what is due is tried before it counts as dead; 0: for ever."""
    alert_after: Duration = 15 * MINUTE
    """How long nothing may get through to a destination before that is reported; 0: any time."""
    rate: RateSetting = None
    """Of all its destinations together."""
    max_concurrency: Concurrency = None
    """Deliveries under way at the same time, to all its destinations together."""


class StormSettings(ChannelSettings):
    """Of a channel that merges messages in a storm."""

    storm_above: StormAbove = None
    """Of each destination that does not say otherwise."""


class EditSettings(StormSettings):
    """Of a channel that also edits messages, where the provider limits edits by themselves."""

    edit_rate: RateSetting = None


class DestinationOptions(Section):
    """What routes.yaml says of one destination."""

    on_failure: str | None = None
    """The receiver to tell instead of what is given up here."""
    rate: RateSetting = None
    max_concurrency: Concurrency = None
    send_resolved: bool = True
    """Whether the destination is notified when an alert ends."""

    def key(self, receiver: str) -> str:
        """The destination's key: stable, bounded by the configuration, free of secrets."""
        raise NotImplementedError

    @property
    def per_alert(self) -> bool:
        return False

    @property
    def vendor_limits(self) -> LaneLimits | None:
        """The vendor's limits where they depend on the options; None: those of :attr:`ChannelSpec.limits`."""
        return None


class StormOptions(DestinationOptions):
    """Of a destination whose messages are merged in a storm."""

    storm_above: StormAbove = None


def destination_key(kind: str, name: str | None, digest: str) -> str:
    """The key of a destination that is reached by a secret. Another secret is another place even under the same name:
    what the one was told, the other can't take back.
    """
    return f"{kind}:{name}-{digest[:8]}" if name else f"{kind}:{digest[:8]}"


class Channel(Protocol):
    """One way of telling people.

    A channel object serves every destination of its kind. ``render`` is pure; ``send`` talks to the
    provider once for each of ``message.calls`` that is paid for and never retries: the lanes do. ``send`` raises nothing for what a provider may do; every failure is an outcome,
    and no outcome's reason holds a secret.
    """

    def render(
        self, destination: Destination, conversation: Conversation, templates: Templates
    ) -> Message: ...

    async def send(
        self, destination: Destination, conversation: Conversation, message: Message
    ) -> Outcome: ...

    async def close(self) -> None: ...


def _no_html(_body: Mapping[str, Any]) -> str:
    return ""


def _no_remote(_body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel's line in the registry."""

    name: str
    section: str
    """Which section of ``channels:`` it needs."""
    settings: type[ChannelSettings]
    options: type[DestinationOptions]
    make: Callable[..., Channel]
    """From the settings, and the :class:`router.network.Network`, whose default is to connect directly."""
    limits: LaneLimits
    """Of each destination, unless routes.yaml says otherwise: the vendor's."""
    placeholder: Mapping[str, str]
    """Settings to render with where there are none: in a preview."""
    shared: SharedLimits = _UNLIMITED
    """Of all destinations of the section together, unless routes.yaml says otherwise."""
    storm_every: Millis | None = None
    """In a storm one message tells of all, and is brought up to date this often; None: there are none."""
    storm_room: int = 0
    """Characters of names that such a message holds."""
    edits: bool = False
    """A message is brought up to date by editing it."""
    dedupes: bool = False
    """The provider, or whoever listens there, tells a second telling of the same state apart by its key."""
    machine: bool = False
    """Programs read it, not people; see :class:`router.model.Destination`."""
    title: str = ""
    """The title of its tab; empty: the channel's name."""
    draw: Callable[[SentMessage], Markup] = draw_json
    """Draws a message as its reader sees it, as safe HTML. Use the functions of :mod:`router.channels.drawing` to make
    Markup: they escape.
    """
    nothing_sent: str = "No message yet."
    """What the tab says while it has no message."""
    html_of: Callable[[Mapping[str, Any]], str] = _no_html
    """Returns the message's own HTML document, by its body. Pages show it in a sandboxed frame; empty: it has none."""
    updates: bool = True
    """A later message of a conversation updates the earlier one; False: each message stands alone, as mails do."""
    remote_after: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _no_remote
    """Returns what a message adds to ``Conversation.remote`` when the preview files it, by its body."""
    importer: type[ChannelImport] | None = None
    """Reads the channel's part of an alertmanager.yml; None: Alertmanager has no such receiver."""

    def limits_of(self, options: DestinationOptions, settings: ChannelSettings | None) -> LaneLimits:
        """The limits of a destination. :param settings: of its section; None: there is none"""
        default = options.vendor_limits or self.limits
        above = options.storm_above if isinstance(options, StormOptions) else None
        if above is None and isinstance(settings, StormSettings):
            above = settings.storm_above
        return LaneLimits(
            rate=chosen(options.rate, default.rate),
            max_concurrency=options.max_concurrency or default.max_concurrency,
            storm_above=above or default.storm_above,
        )

    def shared_of(self, settings: ChannelSettings | None) -> SharedLimits:
        """The limits of the section."""
        default = self.shared
        if settings is None:
            return default
        return SharedLimits(
            rate=chosen(settings.rate, default.rate),
            edit_rate=chosen(
                settings.edit_rate if isinstance(settings, EditSettings) else None, default.edit_rate
            ),
            max_concurrency=settings.max_concurrency or default.max_concurrency,
        )
