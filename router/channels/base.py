"""What a channel is: one file with its options, its limits, its error table, and these three methods."""

from typing import Any, Protocol

from router.model import Conversation, Destination, Message, Outcome
from router.render import Templates


class Channel(Protocol):
    """One way of telling people.

    A channel object serves every destination of its kind. ``render`` is pure; ``send`` talks to the
    provider exactly once a call (plus follow-ups of the same message, such as a thread reply) and never
    retries: the lanes do. ``send`` raises nothing for what a provider may do; every failure is an outcome,
    and no outcome's reason holds a secret.
    """

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message: ...

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome: ...

    async def close(self) -> None: ...


class Pace(Protocol):
    """How fast one destination may be told: at most ``burst`` at once, ``per_second`` in the long run."""

    per_second: float
    burst: int


Options = Any
