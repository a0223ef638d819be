"""Who serves, and who holds what, for pages and ``/status``. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from router.model import Millis
from router.render.words import counted, duration
from router.store import ReplicasView

_MAX_NAMES = 3
_TERMS_WITHOUT_HOLDER = 2
"""A takeover takes a little more than one term. A lease that no replica holds for longer is a fault."""


@dataclass(frozen=True, slots=True)
class ListedReplica:
    """A replica."""

    id: str
    """Its session; empty: the database can't be shared, so there are no sessions."""
    name: str
    version: str
    started_at: Millis
    """When its session began."""
    renewed_at: Millis | None
    """When it renewed its session last; None: there are no sessions."""
    expires_at: Millis | None
    """When its session ends if it is not renewed; None: never."""
    sha256: str
    """The hash of the files of its rules."""
    agrees: bool
    """Whether its rules are those in force."""
    is_this: bool
    """Whether it is the one that answers."""
    leases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedLease:
    """A lease: the right to do some work."""

    name: str
    replica: str | None
    """The session of its holder; None: no replica holds it."""
    holder: str | None
    """The name of its holder."""
    since: Millis
    """When it was granted last, or became free."""
    fence: int
    """Grows with each grant."""


@dataclass(frozen=True, slots=True)
class ReplicaList:
    """All replicas and leases at one moment. Times are the database's (epoch ms)."""

    now: Millis
    term: Millis
    """How long a session lasts without a renewal (ms)."""
    is_shared: bool
    """Whether several replicas may serve from the database. If not, the only one does everything, without leases."""
    replicas: tuple[ListedReplica, ...]
    leases: tuple[ListedLease, ...]

    @property
    def this(self) -> ListedReplica | None:
        """The one that answers; None: it has no session now."""
        return next((each for each in self.replicas if each.is_this), None)

    def troubles(self) -> Iterator[str]:
        """Yield what an operator has to know, in words, the most urgent first."""
        if self.is_shared and self.this is None:
            yield "This replica could not renew its session, so it sends nothing; others take over if they reach the database"
        longest = _TERMS_WITHOUT_HOLDER * self.term
        free = [each for each in self.leases if each.replica is None and self.now - each.since > longest]
        if free:
            lasting = duration(self.now - min(each.since for each in free))
            names = counted([each.name for each in free], _MAX_NAMES)
            yield f"No replica has held {'a lease' if len(free) == 1 else f'{len(free)} leases'} for {lasting}: {names}"
        others = [each.name for each in self.replicas if not each.agrees and not each.is_this]
        if others:
            have = "1 other replica has" if len(others) == 1 else f"{len(others)} other replicas have"
            yield f"{have} other rules than those in force: {counted(others, _MAX_NAMES)}"
        versions = sorted({each.version for each in self.replicas})
        if len(versions) > 1:
            yield f"The replicas have different versions: {counted(versions, _MAX_NAMES)}"


def list_replicas(view: ReplicasView, session: str, term: Millis, wanted: Collection[str]) -> ReplicaList:
    """Return the replicas of a database that can be shared.

    :param session: of this process
    :param wanted: the leases that its rules need; of others, only those are listed that somebody holds
    """
    names = {each.id: each.name for each in view.replicas}
    leases = tuple(
        ListedLease(
            each.name, each.replica, None if each.replica is None else names.get(each.replica), each.since, each.fence
        )
        for each in view.leases
        if each.name in wanted or each.replica is not None
    )  # fmt: skip
    replicas = tuple(
        ListedReplica(
            each.id, each.name, each.version, each.started_at, each.renewed_at, each.expires_at, each.sha256,
            each.rules == view.rules, each.id == session,
            tuple(lease.name for lease in view.leases if lease.replica == each.id),
        )
        for each in sorted(view.replicas, key=lambda each: (each.name, each.started_at, each.id))
    )  # fmt: skip
    return ReplicaList(view.now, term, True, replicas, leases)


def only_one(name: str, version: str, started_at: Millis, sha256: str, now: Millis) -> ReplicaList:
    """Return the only replica of a database that can't be shared."""
    me = ListedReplica("", name, version, started_at, None, None, sha256, True, True, ())
    return ReplicaList(now, 0, False, (me,), ())
