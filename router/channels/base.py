"""What a channel is: one file with its options, its limits, its error table, and these three methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from router.model import Conversation, Destination, Message, Outcome
from router.render import Templates


class Section(BaseModel):
    """A piece of routes.yaml that a channel reads. Errors don't show what was given: it may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)


class Options(Section):
    """What routes.yaml says of one destination."""

    def key(self, receiver: str) -> str:
        """The destination's key: stable, bounded by the configuration, free of secrets."""
        raise NotImplementedError

    @property
    def per_alert(self) -> bool:
        return False


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
    settings: type[Section]
    options: type[Options]
    make: Callable[[Any], Channel]
    """From the settings."""
    per_second: float
    """How fast one destination may be told in the long run."""
    burst: int
    """And how often at once."""
    placeholder: Mapping[str, str]
    """Settings to render with where there are none: in a preview."""
