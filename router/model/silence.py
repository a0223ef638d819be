"""What is watched for silence, and how the dead man's switch is doing. Times are epoch milliseconds."""

from dataclasses import dataclass

from router.model.millis import Millis

WatchKey = tuple[str, str]
"""The name of a heartbeat, and a source. An empty name means any webhook of the source."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A heartbeat of one source, or all webhooks of a source."""

    heartbeat: str
    """Its name; empty: any webhook of the source counts."""
    source: str
    within: Millis
    """How long it may be silent (ms); 0: its silence is not reported."""
    receiver: str | None = None
    """The receiver that is notified of its silence; None: the operators, or whom the routes name."""

    @property
    def key(self) -> WatchKey:
        return self.heartbeat, self.source

    @property
    def words(self) -> str:
        """What it is, for people."""
        return (
            f"heartbeat {self.heartbeat} of source {self.source}"
            if self.heartbeat
            else f"source {self.source}"
        )


@dataclass(frozen=True, slots=True)
class LastHeard:
    """When something that is watched was last heard."""

    seen_at: Millis | None
    """None: never."""
    counts_from: Millis
    """Since when its silence is counted."""


@dataclass(frozen=True, slots=True)
class WatchState:
    """How something that is watched is doing."""

    watched: Watched
    heard: LastHeard
    silent_since: Millis | None
    """When its silence was reported; None: it is not silent."""


@dataclass(frozen=True, slots=True)
class DeadmanState:
    """How the last ping of the monitor outside went."""

    tried_at: Millis | None = None
    """When the last ping was sent or withheld; None: none was yet."""
    succeeded_at: Millis | None = None
    """When the monitor last accepted a ping; None: not since the start."""
    withheld: str = ""
    """Why the last ping was not sent, for people; empty: it was sent."""
    failure: str = ""
    """Why the last ping failed, without the address; empty: it did not."""
