"""A rendered message, and the outcomes of sending it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.model.destination import Call
from router.model.millis import Millis


@dataclass(frozen=True, slots=True)
class Message:
    """A rendered message: JSON-compatible data in the channel's own shape."""

    channel: str
    body: Mapping[str, Any]
    fallback: bool = False
    """The template failed; this is the fallback message."""
    calls: tuple[Call, ...] = (Call.POST,)
    """The requests that sending takes, in their order, if no error occurs. A lane takes a token for each, from the rates
    that the kind of call counts towards."""
    paid: int | None = None
    """For how many of the calls the lane has taken tokens: the channel makes no more in this attempt. None: all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A recipient of a destination that could not be notified, while its other recipients were."""

    recipient: str
    reason: str
    words: str = field(default="", compare=False)

    @property
    def shown(self) -> str:
        return _reason_and_words(self.reason, self.words)


class _Failure:
    """The common part of failed outcomes: a label from a table, for metrics, and the provider's words, for people."""

    __slots__ = ()
    reason: str
    words: str

    @property
    def shown(self) -> str:
        return _reason_and_words(self.reason, self.words)


def _reason_and_words(reason: str, words: str) -> str:
    return f"{reason}: {words}" if words else reason


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination is up to date. ``remote`` replaces the conversation's remote state."""

    remote: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()
    """Recipients that were given up; the others were notified."""
    rest: Millis = 0
    """How long the provider accepts nothing more at the destination (ms)."""
    reached: bool = True
    """Whether this attempt delivered something. It did not if all remaining recipients were refused."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)
    """Calls that were made in addition to ``Message.calls``, e.g. a second one after a refusal. They count towards the
    rates as well.
    """


@dataclass(frozen=True, slots=True)
class Retry(_Failure):
    """Try again. ``after``: the delay that the provider asks for (Retry-After), in milliseconds."""

    reason: str
    after: Millis | None = None
    ambiguous: bool = False
    """The message may have arrived (a timeout after sending, a lost answer)."""
    pause: bool = False
    """The whole destination must wait (a rate limit), not just this conversation."""
    everywhere: bool = False
    """All destinations of the same section of ``channels:`` must wait, too."""
    remote: Mapping[str, Any] | None = None
    """The remote state of what succeeded before the failure, e.g. the ts of a posted message; None: unchanged."""
    further: bool = False
    """A part of the message was sent: this does not count as a failed attempt."""
    unfinished: bool = False
    """Nothing failed: the calls with tokens are made, and others follow. In between, the lane sends what is more
    urgent."""
    refused: tuple[Refusal, ...] = ()
    """Recipients that were given up."""
    late: tuple[Refusal, ...] = ()
    """Recipients that are tried again; all others were notified or given up."""
    reached: bool = False
    """This attempt delivered something before it failed."""
    words: str = field(default="", compare=False)
    """The provider's words, bounded and without secrets. They do not distinguish outcomes."""
    cause: str = field(default="", compare=False)
    """The cause that other destinations share, e.g. the mail server: all failures with this cause are reported
    together. Empty: only this destination is affected.
    """
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Broken(_Failure):
    """Nothing can reach the destination until someone repairs it, for example because the Slack channel was deleted or
    a token was revoked. What is due there waits.
    """

    reason: str
    remote: Mapping[str, Any] | None = None
    """The remote state of what succeeded before; None: unchanged."""
    ambiguous: bool = False
    """The part that succeeded has notified the news already."""
    words: str = field(default="", compare=False)
    cause: str = field(default="", compare=False)
    by_content: bool = field(default=False, compare=False)
    """The message itself may be the cause: the provider read it before it refused, as a spam filter does."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Rejected(_Failure):
    """Final: trying the same again cannot succeed."""

    reason: str
    ambiguous: bool = False
    """The message may have arrived: it was given up after an attempt whose answer was lost."""
    words: str = field(default="", compare=False)
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


Outcome = Delivered | Retry | Broken | Rejected

LATE = "late"
"""A key of a conversation's remote state. Its value has two fields: ``to`` lists the recipients that do not know yet what
the others know; ``state`` says what the others know, by a channel's own value or, if a dead letter is retried, by one of
the two values below."""

KNOWN_FIRING, KNOWN_OVER = "known firing", "known over"
"""What the recipients of a mail know, without those that were refused: that alerts fire, or that all have ended. The
mail is sent to a refused recipient alone while it has no news for the others, and otherwise to all recipients.
"""
