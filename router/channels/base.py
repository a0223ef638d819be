"""What a channel is: a module with its options, its limits, its error table, and the methods of :class:`Channel`."""

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

_UNITS_MS: dict[str, Millis] = {
    "ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY,
}  # fmt: skip
_UNLIMITED = SharedLimits()
_MAX_DURATION_MS = 100 * _UNITS_MS["y"]
# A word that stands for a secret that is not there, in a check and in the preview. No address looks like it.
_PLACEHOLDER = re.compile(r"[^\s:/]{32}")
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")


class Section(BaseModel):
    """A section of routes.yaml. Its errors don't show the value: it may be a secret."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True, str_min_length=1
    )


def is_placeholder(secret: str) -> bool:
    """Return whether a text may stand for a secret that is not there; see :func:`router.config.document.placeholder`."""
    return _PLACEHOLDER.fullmatch(secret) is not None


def duration(value: Any) -> Millis:
    """Read a duration as Prometheus writes it: https://github.com/prometheus/common/blob/main/model/time.go

    :raises ValueError: it is no duration
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text == "0":
        return 0
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError("is no duration; write it like 30s, 5m or 1h30m")
    span = sum(int(count) * _UNITS_MS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdwy])", text))
    if span > _MAX_DURATION_MS:
        raise ValueError("is longer than a hundred years")
    return span


Duration = Annotated[Millis, BeforeValidator(duration)]


class ChannelSettings(Section):
    """The keys that every section of ``channels:`` has."""

    give_up_after: Duration = DAY
    """How long a delivery is tried before it becomes a dead letter; 0: for ever."""
    alert_after: Duration = 15 * MINUTE
    """How long every delivery to a destination may fail before that is reported; 0: never reported."""
    rate: RateSetting = None
    """For all its destinations together."""
    max_concurrency: Concurrency = None
    """The number of deliveries under way at the same time, to all its destinations together."""


class StormSettings(ChannelSettings):
    """The settings of a channel that merges messages in a storm."""

    storm_above: StormAbove = None
    """For each destination that has no value of its own."""


class EditSettings(StormSettings):
    """The settings of a channel that edits messages, where the provider has a separate limit for edits."""

    edit_rate: RateSetting = None


class DestinationOptions(Section):
    """One destination of a receiver in routes.yaml."""

    on_failure: str | None = None
    """The receiver that gets what is given up here."""
    rate: RateSetting = None
    max_concurrency: Concurrency = None
    send_resolved: bool = True
    """Whether the destination is notified when an alert ends."""

    def key(self, receiver: str) -> str:
        """Return the destination's key: stable, bounded by the configuration, and free of secrets."""
        raise NotImplementedError

    @property
    def per_alert(self) -> bool:
        return False

    @property
    def vendor_limits(self) -> LaneLimits | None:
        """The vendor's limits where they depend on the options; None: those of :attr:`ChannelSpec.limits`."""
        return None


class StormOptions(DestinationOptions):
    """The options of a destination whose messages are merged in a storm."""

    storm_above: StormAbove = None


def destination_key(kind: str, name: str | None, digest: str) -> str:
    """Return the key of a destination that is reached by a secret.

    With another secret it is another destination, even under the same name: a message that was sent to the one can't be
    updated at the other.

    :param digest: a hash of the secret, in hex
    """
    return f"{kind}:{name}-{digest[:8]}" if name else f"{kind}:{digest[:8]}"


class Channel(Protocol):
    """One way to notify people or programs.

    A channel object serves every destination of its kind. ``render`` is pure. ``send`` makes one call to the provider for
    each of ``message.calls`` that is paid for; it never retries, because the lanes do. Whatever a provider does, ``send``
    raises nothing: every failure is an outcome, and no outcome holds a secret.
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


@dataclass(frozen=True, slots=True, eq=False)
class ChannelSpec:
    """A channel's entry in the registry: everything that other rooms ask about it."""

    name: str
    section: str
    """The section of ``channels:`` that has its settings."""
    settings: type[ChannelSettings]
    options: type[DestinationOptions]
    make: Callable[..., Channel]
    """Makes the channel from its settings, and from the :class:`router.network.Network`; by default it connects directly."""
    limits: LaneLimits
    """The vendor's limits of each destination; routes.yaml can change them."""
    placeholder: Mapping[str, str]
    """Settings that the preview renders with where routes.yaml has none."""
    shared: SharedLimits = _UNLIMITED
    """The vendor's limits of all destinations of the section together; routes.yaml can change them."""
    storm_every: Millis | None = None
    """In a storm, one summary message is updated this often (ms); None: the channel sends no summaries."""
    storm_room: int = 0
    """How many characters of group names a storm summary holds."""
    edits: bool = False
    """Updates edit the message that was sent before."""
    dedupes: bool = False
    """The provider or the receiving program recognises a repeated delivery of the same state by its key."""
    machine: bool = False
    """Programs read it, not people; see :class:`router.model.Destination`."""
    digest: bool = False
    """Its destinations get digests at the slots of a schedule instead of alerts. Their options have ``at``,
    ``weekdays``, ``timezone`` and ``covers``."""
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
    secret_pattern: str = ""
    """A regular expression (verbose, no named groups) of texts that are secrets wherever they stand; empty: none. The
    fields of the models that are ``SecretStr`` need no pattern."""
    secret_keys_elsewhere: frozenset[str] = frozenset()
    """Keys that hold the channel's secrets in other programs' files, such as alertmanager.yml."""
    importer: type[ChannelImport] | None = None
    """Reads the channel's part of an alertmanager.yml; None: Alertmanager has no such receiver."""

    def destination(
        self, key: str, options: DestinationOptions, settings: ChannelSettings | None
    ) -> Destination:
        """Return a destination of this channel. :param settings: of its section; None: there is none"""
        return Destination(
            key, self.name, options, options.per_alert, digest=self.digest, machine=self.machine,
            limits=self.limits_of(options, settings), send_resolved=options.send_resolved,
        )  # fmt: skip

    def limits_of(self, options: DestinationOptions, settings: ChannelSettings | None) -> LaneLimits:
        """Return the limits of a destination. :param settings: of its section; None: there is none"""
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
        """Return the limits of the section. :param settings: None: there is none"""
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
