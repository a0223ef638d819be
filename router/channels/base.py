"""The parts that every channel has: settings, destination options, limits, and the methods of :class:`Channel`."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self
from urllib.parse import SplitResult, urlsplit

from markupsafe import Markup
from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, SecretStr, WithJsonSchema

from router.channels.drawing import SentMessage, draw_json
from router.channels.importing import ChannelImport
from router.channels.limits import Concurrency, RateSetting, StormAbove, rate_in_force
from router.model import (
    DAY,
    MINUTE,
    Conversation,
    Destination,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    SharedLimits,
)
from router.model.durations import DURATION_PATTERN, parse_duration
from router.render import Templates
from router.render.words import web_address

_UNLIMITED = SharedLimits()
# In a check and in the preview, a placeholder replaces a missing secret. No address has this form.
_PLACEHOLDER_FORM = re.compile(r"[^\s:/]{32}")


class Section(BaseModel):
    """A section of routes.yaml. Its errors don't show the value: it may be a secret."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True, str_min_length=1
    )


def is_placeholder(secret: str) -> bool:
    """Return whether a text has the form of a placeholder for a missing secret.

    :func:`router.config.document.placeholder` makes placeholders.
    """
    return _PLACEHOLDER_FORM.fullmatch(secret) is not None


Duration = Annotated[
    Millis,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "pattern": f"^({DURATION_PATTERN})$",
                    "patternErrorMessage": "A duration is written like 30s, 5m or 1h30m.",  # a keyword of editors
                },
                {"const": 0},
            ]
        }
    ),
]
TIME_OF_DAY_SCHEMA = {"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"}
TimeOfDay = Annotated[str, WithJsonSchema(TIME_OF_DAY_SCHEMA)]
"""HH:MM, up to 24:00."""


class ChannelSettings(Section):
    """The keys that every section of ``channels:`` has."""

    give_up_after: Duration = DAY
    """How long a delivery is tried before it becomes a dead letter; 0: without end."""
    alert_after: Duration = 15 * MINUTE
    """After how long without a successful delivery a destination is reported; 0: never."""
    rate: RateSetting = None
    """One rate limit for all destinations of the section together."""
    max_concurrency: Concurrency = None
    """The largest number of simultaneous deliveries to all destinations of the section together."""


class StormSettings(ChannelSettings):
    """The settings of a channel that merges messages in a storm."""

    storm_above: StormAbove = None
    """The default for destinations that set no ``storm_above``."""


class EditSettings(StormSettings):
    """The settings of a channel that edits messages, where the provider has a separate limit for edits."""

    edit_rate: RateSetting = None


class AuthoritySettings(ChannelSettings):
    """The settings of a channel whose server may have a certificate of an authority of its own."""

    ca_file: str | None = None
    """A PEM file, relative to the folder of routes.yaml. Its certificates are trusted in addition to the system's, instead
    of those of ``network.ca_file``."""
    _certificates: str = PrivateAttr(default="")

    @property
    def certificates(self) -> str:
        """The content of :attr:`ca_file` (PEM)."""
        return self._certificates

    def with_certificates(self, pem: str) -> Self:
        """Return the same settings with the content of :attr:`ca_file`."""
        settings = self.model_copy()
        settings._certificates = pem  # noqa: SLF001  (a new object of this class)
        return settings


class DestinationOptions(Section):
    """One destination of a receiver in routes.yaml."""

    on_failure: str | None = None
    """The receiver that is notified if deliveries to this destination are given up."""
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


def secret_address(secret: SecretStr, problem: str) -> SplitResult | None:
    """Return the parts of a web address that is a secret, such as a webhook URL; None: it is a placeholder.

    :param problem: what is wrong with any other text, and where to find the right one
    :raises ValueError: the secret is no web address, or has a user name
    """
    text = secret.get_secret_value()
    if is_placeholder(text):
        return None
    parts = urlsplit(web_address(text))
    if not parts.hostname or parts.username is not None:
        raise ValueError(problem)
    return parts


def destination_key(channel: str, name: str | None, sha256: str) -> str:
    """Return the key of a destination whose address is a secret, such as a webhook URL.

    A new secret makes a new destination, even under the same name: a message that was sent through one secret can't be
    updated through another.

    :param sha256: of the secret, in hex
    """
    return f"{channel}:{name}-{sha256[:8]}" if name else f"{channel}:{sha256[:8]}"


def content_hash(part: Mapping[str, Any]) -> str:
    """Return a short hash of a part of a message, which tells whether the provider shows it already."""
    return hashlib.sha256(json.dumps(part).encode()).hexdigest()[:12]


class Channel(Protocol):
    """One way to notify people or programs.

    A channel object serves all destinations of its channel. ``render`` is pure. ``send`` makes the calls in
    ``message.calls`` for which the lane has taken tokens (the first ``message.paid``). It never retries, because the
    lanes do. It raises nothing, whatever a provider does: every failure is an outcome, and no outcome contains a secret. What
    it writes in another task or thread asks first, see :mod:`router.channels.steps`.
    """

    def render(
        self, destination: Destination, conversation: Conversation, templates: Templates
    ) -> Message: ...

    async def send(
        self, destination: Destination, conversation: Conversation, message: Message
    ) -> Outcome: ...

    async def close(self) -> None: ...


def _no_text(_body: Mapping[str, Any]) -> str:
    return ""


def _no_remote(_body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, eq=False)
class ChannelSpec:
    """A channel's entry in the registry: everything that other packages need to know about it."""

    name: str
    section: str
    """The section of ``channels:`` that has its settings."""
    settings: type[ChannelSettings]
    options: type[DestinationOptions]
    make: Callable[..., Channel]
    """Makes the channel. Arguments: its settings, and the :class:`router.network.Network` (default: direct
    connections).
    """
    limits: LaneLimits
    """The default limits of each destination, from the vendor's documentation. routes.yaml can change them."""
    placeholder: Mapping[str, str]
    """Settings for the preview, which uses them if routes.yaml has no section for the channel."""
    shared: SharedLimits = _UNLIMITED
    """The default limits that all destinations of the section share, from the vendor's documentation. routes.yaml can
    change them.
    """
    storm_every: Millis | None = None
    """How often the summary message of a storm is updated (ms). None: the channel sends no summaries."""
    storm_room: int = 0
    """The largest number of characters of group names in a storm summary."""
    edits: bool = False
    """Updates edit the message that was sent before."""
    dedupes: bool = False
    """The provider or the receiving program recognizes a repeated delivery of the same state by its key."""
    machine: bool = False
    """Programs read the messages, not people. See :class:`router.model.Destination`."""
    digest: bool = False
    """Its destinations get digests at the slots of a schedule instead of alerts. Their options have ``at``,
    ``weekdays``, ``timezone`` and ``covers``."""
    title: str = ""
    """The title of the channel's tab in the preview. Empty: the channel's name."""
    draw: Callable[[SentMessage], Markup] = draw_json
    """Draws a message as its reader sees it, as safe HTML. Use the functions of :mod:`router.channels.drawing` to make
    Markup: they escape.
    """
    notification: Callable[[Mapping[str, Any]], str] = _no_text
    """Takes a message's body and returns the line that a lock screen shows, as plain text, if the drawing does not begin
    with it. Empty: the drawing does.
    """
    nothing_sent: str = "No message yet."
    """The text that the tab shows while it has no message."""
    html_of: Callable[[Mapping[str, Any]], str] = _no_text
    """Takes a message's body and returns the HTML document that it contains. Pages show the document in a sandboxed
    frame. Empty: the message has none.
    """
    updates: bool = True
    """A later message of a conversation replaces the earlier one in the preview. False: each message is a separate
    entry, as mails are.
    """
    remote_after: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _no_remote
    """Takes a message's body and returns what the preview adds to ``Conversation.remote`` after it shows the message.
    """
    secret_pattern: str = ""
    """A regular expression (verbose, no named groups) of texts that are secrets in any position. Empty: none.
    Fields of type ``SecretStr`` need no pattern.
    """
    secret_keys_elsewhere: frozenset[str] = frozenset()
    """Keys that hold the channel's secrets in other programs' files, such as alertmanager.yml."""
    importer: type[ChannelImport] | None = None
    """The class that converts the channel's part of an alertmanager.yml; None: Alertmanager has no such integration."""

    keyword: str = ""
    """The word of its destinations in routes.yaml. Empty: the channel's name."""
    chosen_by: str = ""
    """The option that chooses this channel among those with the same keyword. Empty: it is chosen without one."""
    section_is_optional: bool = False
    """Its destinations need no section of ``channels:``."""
    needed_settings: tuple[str, ...] = ()
    """The keys of the section that its destinations need, although the section may be without them."""
    limitation: tuple[str, str] | None = None
    """What its messages can't do, and what to do about it: ``check`` notes it at the destination."""

    @property
    def word(self) -> str:
        """The word of its destinations in routes.yaml."""
        return self.keyword or self.name

    def settings_in(self, sections: Mapping[str, ChannelSettings]) -> ChannelSettings | None:
        """Return the settings of this channel; None: its section is missing, or lacks a key that it needs.

        :param sections: the settings by section of ``channels:``
        """
        found = sections.get(self.section)
        if found is None:
            return self.settings() if self.section_is_optional else None
        return found if all(getattr(found, key) is not None for key in self.needed_settings) else None

    def destination(
        self, key: str, options: DestinationOptions, settings: ChannelSettings | None
    ) -> Destination:
        """Return a destination of this channel.

        :param settings: the settings of its section; None: routes.yaml has no such section
        """
        return Destination(
            key, self.name, options, options.per_alert, digest=self.digest, machine=self.machine,
            limits=self.limits_of(options, settings), send_resolved=options.send_resolved,
        )  # fmt: skip

    def limits_of(self, options: DestinationOptions, settings: ChannelSettings | None) -> LaneLimits:
        """Return the limits of a destination.

        :param settings: the settings of its section; None: routes.yaml has no such section
        """
        default = options.vendor_limits or self.limits
        above = options.storm_above if isinstance(options, StormOptions) else None
        if above is None and isinstance(settings, StormSettings):
            above = settings.storm_above
        return LaneLimits(
            rate=rate_in_force(options.rate, default.rate),
            max_concurrency=options.max_concurrency or default.max_concurrency,
            storm_above=above or default.storm_above,
            counts_edits=default.counts_edits,
        )

    def shared_of(self, settings: ChannelSettings | None) -> SharedLimits:
        """Return the limits that all destinations of the section share.

        :param settings: the settings of the section; None: routes.yaml has no such section
        """
        default = self.shared
        if settings is None:
            return default
        return SharedLimits(
            rate=rate_in_force(settings.rate, default.rate),
            edit_rate=rate_in_force(
                settings.edit_rate if isinstance(settings, EditSettings) else None, default.edit_rate
            ),
            max_concurrency=settings.max_concurrency or default.max_concurrency,
        )
