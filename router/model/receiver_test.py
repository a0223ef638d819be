"""A test of a receiver: a message marked TEST and its end, and what each destination answered to both."""

from dataclasses import dataclass
from enum import StrEnum

from router.model.millis import SECOND, Millis

_SMALL_STEP: Millis = SECOND


class TestOutcome(StrEnum):
    """How a test is, or how it ended."""

    __test__ = False

    UNDER_WAY = "under way"
    DELIVERED = "delivered"
    """Every destination took both messages."""
    FAILED = "failed"
    """A destination refused a message."""
    WAITING = "waiting"
    """The time of the test ended before every destination had answered."""
    INTERRUPTED = "interrupted"
    """The router was restarted, or could not store the test."""


class AnswerState(StrEnum):
    """What is known about one message of a test at one destination."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"
    NOT_SENT = "not sent"
    """On purpose: the destination gets no ends, or was not notified of the test."""


@dataclass(frozen=True, slots=True)
class MessageAnswer:
    """What a destination answered to one message of a test."""

    state: AnswerState = AnswerState.WAITING
    words: str = ""
    """The provider's own words, or why it waits, or why nothing is sent."""
    after: Millis | None = None
    """How long it took from the moment at which the message was due (ms); None: there is no answer."""
    delivery: int | None = None
    """The last attempt; None: there was none."""
    in_storm: bool = False
    """The summary of a storm named it: it had no message of its own."""

    @property
    def is_final(self) -> bool:
        return self.state is not AnswerState.WAITING

    @property
    def is_good(self) -> bool:
        return self.state in (AnswerState.DELIVERED, AnswerState.NOT_SENT)


@dataclass(frozen=True, slots=True)
class TestedDestination:
    """One destination of a test."""

    __test__ = False

    key: str
    firing: MessageAnswer = MessageAnswer()
    end: MessageAnswer = MessageAnswer()

    @property
    def outcome(self) -> TestOutcome:
        """How it was: the worse one of both messages."""
        if AnswerState.FAILED in (self.firing.state, self.end.state):
            return TestOutcome.FAILED
        if self.firing.state is AnswerState.DELIVERED and self.end.is_good:
            return TestOutcome.DELIVERED
        return TestOutcome.WAITING


@dataclass(frozen=True, slots=True)
class ReceiverTest:
    """A test of a receiver. Times are epoch milliseconds."""

    id: str
    """Ids of later tests are greater as texts."""
    receiver: str
    by: str
    """The name of the user who started it; empty: the drill did."""
    severity: str
    severity_label: str
    """The name of the label that has the severity."""
    timeout: Millis
    """How long the router waits for the answers to each of the two messages."""
    started_at: Millis
    destinations: tuple[TestedDestination, ...]
    slot: Millis | None = None
    """The slot of the drill; None: it is no drill."""
    sent_at: Millis | None = None
    """When the message was due at the destinations; None: it is not sent yet."""
    ended_at: Millis | None = None
    """When its end was due at the destinations; None: it fires."""
    finished_at: Millis | None = None
    outcome: TestOutcome = TestOutcome.UNDER_WAY
    interrupted: str = ""
    """Why it was ended before the destinations had answered; empty: it was not."""

    @property
    def is_finished(self) -> bool:
        return self.finished_at is not None

    @property
    def deadline(self) -> Millis:
        """When the router stops waiting for the answers to the present message."""
        return self._waits_since + self.timeout

    @property
    def _waits_since(self) -> Millis:
        return self.ended_at or self.sent_at or self.started_at

    def is_over(self, now: Millis) -> bool:
        """Return whether the time for answers has ended. A clock that is stepped back to before its begin ends it, too:
        otherwise the test would wait for as long as the step.
        """
        return now >= self.deadline or now < self._waits_since - _SMALL_STEP


@dataclass(frozen=True, slots=True)
class TestRequest:
    """What an operator asks for."""

    __test__ = False

    receiver: str
    by: str
    severity: str
    timeout: Millis


class TestRefused(Exception):  # noqa: N818  (it is an answer, no fault)
    """The test can't begin now; the text says why, and what to do."""

    __test__ = False
