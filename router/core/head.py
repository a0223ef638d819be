"""The head of a batch: what the store reads first, and what holds for all jobs of the batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from router.model import Millis

NEXT_ID, LAST_TIME = "next_id", "last_time"
"""Keys of the meta table: the high-water mark of ids, and of the times at which batches ran."""


class RefusedJob(Exception):  # noqa: N818  (a state, not an error)
    """A job may not run now. It is not run again alone, because it would be refused again."""


class LeaseLost(RefusedJob):
    """The lease that a job needs is not held by this process."""


class OtherRules(RefusedJob):
    """Another replica has put other rules in force."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease that was granted to this process."""

    name: str
    fence: int
    """Grows with each grant of the lease, so that an earlier holder is told apart."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the store reads first in each batch."""

    now: Millis = 0
    """The time of the database (epoch ms); 0: the jobs bring their own times."""
    session: str = ""
    """The id of this process among the replicas; empty: it has none."""
    rules: str = ""
    """The fingerprint of the rules in force; empty: there are none yet."""
    leases: Mapping[str, int] | None = field(default=None)
    """The fences of the leases that this process holds now, by name; None: it is the only one, and holds everything."""
    agrees: bool = True
    """Whether the rules in force are those that this process last put in force or joined. If not, it judges nothing."""
    is_indexing: bool = False
    """Not all firing alerts are in the index of the inhibit rules yet, so nothing is claimed. Always False if no other process
    can share the database: then the process keeps this in memory."""
    has_undecided: bool = False
    """Small webhooks wait that a replica kept because it did not agree. Later webhooks wait behind them, so that all are
    decided in the order of their arrival."""

    @property
    def is_alone(self) -> bool:
        """Whether no other process can serve from the database."""
        return self.leases is None

    def check_grant(self, grant: Grant | None) -> None:
        """:param grant: None: the job needs no lease. :raises LeaseLost: this process does not hold it any more"""
        if grant is not None and self.leases is not None and self.leases.get(grant.name) != grant.fence:
            raise LeaseLost(grant.name)


class HeadReading(NamedTuple):
    """A head, as it was read."""

    head: Head
    next_id: str | None
    """The stored high-water mark of ids; None: there is none."""
    asked_at: float = 0
    """When the database was asked for it (seconds, ``time.monotonic``). The answer may have waited for the lock of a batch."""
    answered_at: float = 0
