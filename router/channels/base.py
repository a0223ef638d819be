"""What a channel is: one file with its options, its limits, its error table, and these three methods."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict

from router.model import DAY, HOUR, MINUTE, SECOND, Conversation, Destination, Message, Millis, Outcome
from router.render import Templates

_UNITS: dict[str, Millis] = {
    "ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY,
}  # fmt: skip
_LONGEST = 100 * _UNITS["y"]
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")


class Section(BaseModel):
    """A piece of routes.yaml that a channel reads. Errors don't show what was given: it may be a secret."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True, str_min_length=1
    )


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


class Options(Section):
    """What routes.yaml says of one destination."""

    on_failure: str | None = None
    """The receiver to tell instead of what is given up here."""

    def key(self, receiver: str) -> str:
        """The destination's key: stable, bounded by the configuration, free of secrets."""
        raise NotImplementedError

    @property
    def per_alert(self) -> bool:
        return False


def place(kind: str, name: str | None, digest: str) -> str:
    """The key of a destination that is reached by a secret. Another secret is another place even under the same name:
    what the one was told, the other can't take back.
    """
    return f"{kind}:{name}-{digest[:8]}" if name else f"{kind}:{digest[:8]}"


class Channel(Protocol):
    """One way of telling people.

    A channel object serves every destination of its kind. ``render`` is pure; ``send`` talks to the
    provider exactly once a call (plus follow-ups of the same message, such as a thread reply) and never
    retries: the lanes do. ``send`` raises nothing for what a provider may do; every failure is an outcome,
    and no outcome's reason holds a secret.
    """

    def render(
        self, destination: Destination, conversation: Conversation, templates: Templates
    ) -> Message: ...

    async def send(
        self, destination: Destination, conversation: Conversation, message: Message
    ) -> Outcome: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """A channel's line in the registry."""

    name: str
    section: str
    """Which section of ``channels:`` it needs."""
    settings: type[ChannelSettings]
    options: type[Options]
    make: Callable[[Any], Channel]
    """From the settings."""
    per_second: float
    """How fast one destination may be told in the long run."""
    burst: int
    """And how often at once."""
    placeholder: Mapping[str, str]
    """Settings to render with where there are none: in a preview."""
    together: tuple[float, int] | None = None
    """How fast all destinations of the section may be told, as ``per_second`` and ``burst`` of one."""
    storm_every: Millis | None = None
    """With more due than a minute holds, one message says so, and is brought up to date this often; None: never."""
    edits: bool = False
    """A message is brought up to date by editing it."""
    dedupes: bool = False
    """The provider, or whoever listens there, tells a second telling of the same state apart by its key."""
    machine: bool = False
    """Programs are told by it, not people; see :class:`router.model.Destination`."""
    at_once: int | None = None
    """How many deliveries of the section may be under way at once: connections to a smarthost."""
