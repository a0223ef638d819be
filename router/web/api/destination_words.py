"""How a destination is, in one word and in a sentence for people. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from router.model import MINUTE, SECOND, Millis
from router.render.words import clip, duration, line, moment, when

_MAX_REASON_CHARS = 300
"""A provider's answer may be a whole page."""
_Time = Callable[[Millis], str]
"""Writes a moment for people."""


class StateName(StrEnum):
    """How a destination is, the most urgent first."""

    BROKEN = "broken"
    FAILING = "failing"
    PAUSED = "paused"
    RATE_LIMITED = "rate limited"
    HEALTHY = "healthy"
    UNUSED = "unused"

    @property
    def rank(self) -> int:
        """Return 0 for the most urgent state, 1 for the next, …"""
        return _RANKS[self]


_RANKS = {state: rank for rank, state in enumerate(StateName)}


@dataclass(frozen=True, slots=True)
class DestinationFacts:
    """What is known about a destination. Times are epoch milliseconds."""

    key: str
    provider: str
    """The name of its channel for people."""
    is_named: bool = True
    """The rules name it."""
    is_routed: bool = True
    """Some route, or the receiver of operators or of failures, sends to it."""
    is_used: bool = True
    """There was an attempt to send something to it."""
    is_alive: bool = True
    """Its lane runs."""
    is_here: bool = True
    """This process serves it; otherwise another replica does, or none."""
    failing_since: Millis | None = None
    """The first failed attempt without a success after it; None: the last attempt did not fail."""
    reason: str = ""
    """The last failure, in the provider's words."""
    needs_repair: bool = False
    """The provider's answer means that only a person can repair it."""
    is_reported: bool = False
    """A self-alert about it fires."""
    paused_until: Millis | None = None
    pause_reason: str = ""
    is_rate_limited: bool = False
    """The provider asked for the pause."""
    paused_since: Millis | None = None
    """Since when an operator pauses it; None: no operator does."""
    paused_by: str | None = None
    """The operator who paused it; None: not known."""
    last_success: Millis | None = None
    next_at: Millis | None = None
    """When the first conversation that waits may be tried; None: none waits, or it is being sent."""
    backlog: int = 0
    backlog_is_exact: bool = True
    oldest_at: Millis | None = None
    """Since when the first of the backlog waits."""
    a_minute: float | None = None
    """The rate; None: no limit."""
    dead_letters: int = 0
    unsent_ends: int = 0
    """Of how many alerts it was notified without being notified of their end."""

    @property
    def state(self) -> StateName:
        if not self.is_alive:
            return StateName.BROKEN
        if self.paused_since is not None:
            return StateName.PAUSED
        if self.failing_since is not None:
            return self._trouble
        if self.paused_until is not None:
            return StateName.RATE_LIMITED if self.is_rate_limited else StateName.PAUSED
        return StateName.HEALTHY if self.is_used or self.backlog else StateName.UNUSED

    @property
    def since(self) -> Millis | None:
        """Since when it is in its state; None: it is all right, or the time is not known."""
        return self.failing_since if self.paused_since is None else self.paused_since

    @property
    def _trouble(self) -> StateName:
        if self.needs_repair or self.is_reported:
            return StateName.BROKEN
        return StateName.RATE_LIMITED if self.is_rate_limited else StateName.FAILING

    def next_try(self, now: Millis) -> Millis | None:
        """Return when something is tried next; None: nothing waits, or it waits for a person."""
        if self.next_at is None or self.paused_since is not None or not self.is_alive:
            return None
        return max(now, self.next_at, self.paused_until or 0)

    def empty_at(self, now: Millis) -> Millis | None:
        """Return when the backlog will be sent if nothing new arrives and nothing fails; None: nothing waits, or a person
        has to act before.
        """
        if not self.backlog or self.state is StateName.BROKEN or self.paused_since is not None:
            return None
        return empty_at(max(now, self.paused_until or 0), self.backlog, self.a_minute)


def empty_at(begins: Millis, count: int, a_minute: float | None) -> Millis:
    """Return when so many messages will be sent. :param a_minute: the rate; None: no limit"""
    return begins if a_minute is None else begins + int(count * MINUTE / a_minute)


def describe(facts: DestinationFacts, now: Millis, zone: ZoneInfo) -> str:
    """Return how a destination is, for people: ``failing since 22:41 (12 min); Slack: "timeout"; …``."""

    def time(at: Millis) -> str:
        return when(moment(at, zone), moment(now, zone))

    def parts() -> Iterator[str]:
        yield _state_words(facts, now, time)
        if reason := facts.reason or (facts.pause_reason if facts.paused_until is not None else ""):
            yield f'{facts.provider}: "{clip(line(reason), _MAX_REASON_CHARS)}"'
        if facts.failing_since is not None:
            yield _last_success(facts, time)
        if (trial := facts.next_try(now)) is not None and facts.failing_since is not None:
            yield "it is tried now" if trial <= now else f"next try in {duration(trial - now)}"
        yield _backlog(facts, now, time)
        if facts.dead_letters:
            yield _count(facts.dead_letters, "dead letter")
        yield _retirement(facts)

    return "; ".join(filter(None, parts()))


def advice(facts: DestinationFacts) -> str | None:
    """Return what an operator can do about the state; None: nothing has to be done."""
    match facts.state:
        case StateName.BROKEN if not facts.is_alive and not facts.is_here:
            return "Nothing is sent until a replica serves it whose rules are those in force. Check which replicas run."
        case StateName.BROKEN if not facts.is_alive:
            return "Nothing is sent until the router is restarted. The log says why."
        case StateName.BROKEN if facts.needs_repair:
            return "Correct this at the provider or in routes.yaml, then resume the destination."
        case StateName.BROKEN | StateName.FAILING:
            return "The router keeps trying. Check whether the provider works and can be reached."
        case StateName.PAUSED if facts.paused_since is not None:
            return "Nothing is sent until it is resumed."
    return None


def _state_words(facts: DestinationFacts, now: Millis, time: _Time) -> str:
    if not facts.is_alive:
        return "broken: deliveries have ended" if facts.is_here else "broken: no replica serves it"
    if facts.paused_since is not None:
        by = "an operator" if facts.paused_by is None else line(facts.paused_by)
        before = (
            "" if facts.failing_since is None else f"; failing since {_since(facts.failing_since, now, time)}"
        )
        return f"paused by {by} since {_since(facts.paused_since, now, time)}{before}"
    match facts.state:
        case StateName.HEALTHY if facts.last_success is not None:
            words = f": last delivered {_ago(now - facts.last_success)}"
        case StateName.HEALTHY:
            words = ": no delivery is in the history" if facts.is_used else ": nothing was sent yet"
        case StateName.UNUSED:
            words = ": nothing was sent to it yet" if facts.is_routed else ": no route sends to it"
        case StateName.RATE_LIMITED | StateName.PAUSED if facts.paused_until is not None:
            words = f"{'' if facts.state is StateName.PAUSED else ': paused'} until {time(facts.paused_until)} (for {duration(facts.paused_until - now)})"
        case _:
            words = "" if facts.failing_since is None else f" since {_since(facts.failing_since, now, time)}"
    return f"{facts.state}{words}"


def _ago(span: Millis) -> str:
    return "just now" if span < SECOND else f"{duration(span)} ago"


def _since(at: Millis, now: Millis, time: _Time) -> str:
    return f"{time(at)} ({duration(now - at)})"


def _last_success(facts: DestinationFacts, time: _Time) -> str:
    if facts.last_success is not None:
        return f"last success {time(facts.last_success)}"
    return "no success among its last attempts" if facts.is_used else "no success yet"


def _backlog(facts: DestinationFacts, now: Millis, time: _Time) -> str:
    if not facts.backlog:
        return ""
    wait = "waits" if facts.backlog == 1 and facts.backlog_is_exact else "wait"
    words = f"{_count(facts.backlog, 'message', is_exact=facts.backlog_is_exact)} {wait}"
    if facts.oldest_at is not None:
        words += f", {'' if facts.backlog == 1 else 'the oldest '}for {duration(now - facts.oldest_at)}"
    end = facts.empty_at(now)
    if end is None or facts.failing_since is not None:
        return words
    return f"{words}, all sent by {time(end)}" if end > now + MINUTE else words


def _retirement(facts: DestinationFacts) -> str:
    if facts.is_named:
        return ""
    if facts.unsent_ends:
        return f"no longer in routes.yaml, has yet to be notified of {_count(facts.unsent_ends, 'end')}"
    return "no longer in routes.yaml"


def _count(number: int, noun: str, *, is_exact: bool = True) -> str:
    more = "" if is_exact else "+"
    return f"{number:,}{more} {noun}" + ("" if number == 1 and is_exact else "s")
