"""What replicas tell each other when a batch commits. A notice only wakes: who misses it finds the work by polling."""

import json
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from router.core.adopt import POLICY
from router.core.state import State

CHANNEL = "alert_router"
# PostgreSQL refuses a payload of 8,000 bytes or more. https://www.postgresql.org/docs/current/sql-notify.html
_MAX_BYTES = 7_000


class ReplicaTopic(StrEnum):
    """What a replica is to look at again."""

    UNDECIDED = "undecided"
    """Webhooks were kept that are not decided yet."""
    RULES = "rules"
    """Rules were put in force."""
    LEASES = "leases"
    """A lease was released, or a replica has ended."""
    LANES = "lanes"
    """The state of a lane has changed."""
    TESTS = "tests"
    """A test of a receiver was begun, or has changed."""
    REQUESTS = "requests"
    """Somebody asks something of a lane, or is answered."""


@dataclass(frozen=True, slots=True)
class ReplicaNotice:
    """One notice."""

    sender: str
    """The session of the replica that tells it."""
    lanes: frozenset[str] | None = frozenset()
    """The destinations at which something may be due; None: all."""
    topics: frozenset[str] = frozenset()

    def __str__(self) -> str:
        lanes = None if self.lanes is None else sorted(self.lanes)
        text = json.dumps([self.sender, lanes, sorted(self.topics)])
        if len(text) > _MAX_BYTES:  # ASCII: one byte a character
            text = json.dumps([self.sender, None, sorted(self.topics)])
        return text

    def __bool__(self) -> bool:
        """Whether it tells anything."""
        return bool(self.topics or self.lanes is None or self.lanes)

    @classmethod
    def read(cls, text: str) -> "ReplicaNotice":
        """Return what :meth:`__str__` wrote. Of any other text, return a notice about everything: an empty one says that some
        may have been missed, and others come from a newer version, or from a person.
        """
        with suppress(ValueError, TypeError, RecursionError):
            match json.loads(text):
                case [str(sender), None | [*_] as lanes, [*topics]]:
                    return cls(sender, None if lanes is None else frozenset(lanes), frozenset(topics))
        return cls("", None, frozenset(ReplicaTopic))


def notify(connection: sa.Connection, notice: ReplicaNotice) -> None:
    """Tell the other replicas when the transaction commits. On a database that no other process can share, do nothing."""
    if connection.dialect.name == "postgresql" and notice:
        connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (CHANNEL, str(notice)))


def lanes_to_wake(state: State) -> frozenset[str]:
    """Return the destinations of the conversations that this state has changed and that wait for a delivery."""
    found = state.conversations.changed()[0]
    return frozenset(row.destination for row in found if row.next_at is not None)


def topics_of(state: State) -> Iterable[ReplicaTopic]:
    """Return what else others are to look at, by the rows that this state has changed."""
    if any(row.undecided is not None for row in state.webhooks.changed()[0]):
        yield ReplicaTopic.UNDECIDED
    if any(row.key == POLICY for row in state.meta.changed()[0]):
        yield ReplicaTopic.RULES


def topic_notice(sender: str, *topics: ReplicaTopic, lanes: Collection[str] = ()) -> ReplicaNotice:
    """Return a notice about topics."""
    return ReplicaNotice(sender, frozenset(lanes), frozenset(topics))
