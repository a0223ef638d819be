"""What is done by leases, and what it gets of the session of this process."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from router.core.head import Grant


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that this process may use."""

    name: str
    grant: Grant
    passed_on: str = ""
    """How its last holder lost it: ``released`` or ``expired``; empty: it had none."""


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """The rules by which this process judges."""

    fingerprint: str = ""
    sha256: str = ""


class LeaseUser(Protocol):
    """What is done by leases. The names that it gets are those that it :meth:`wants`."""

    def wants(self) -> Iterable[str]:
        """Return the names of the leases that are needed."""
        ...

    async def gained(self, held: Held) -> None:
        """Begin to work by a lease. It is called again if it raises StoreUnavailable."""
        ...

    async def release(self, name: str) -> bool:
        """Begin nothing more by a lease, and return True when nothing is under way by it. Return False if that takes too long:
        then the work by the lease goes on, and it is tried again after a later renewal.
        """
        ...

    def lost(self, name: str) -> None:
        """Cut off at once what is under way by a lease."""
        ...
