"""Leases: who may do what, and when a lease passes from one replica to another. Pure.

A replica renews its session at an interval. Each renewal also expels the replicas whose sessions have expired, and takes free
leases. All renewals run one after the other, because each is a part of a batch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from router.model import Millis

BACKGROUND = "background"
"""The lease of the work in the background."""
_LANES = "lanes "
RELEASED, EXPIRED = "released", "expired"
"""How a lease left its last holder."""


def lanes_lease(section: str) -> str:
    """Return the name of the lease of all lanes of a section of ``channels:``, which share limits and causes of failures."""
    return _LANES + section


def section_of(lease: str) -> str:
    """Return the section of ``channels:`` whose lanes a lease is of."""
    return lease.removeprefix(_LANES)


def is_of_lanes(lease: str) -> bool:
    """Return whether a lease is of lanes."""
    return lease.startswith(_LANES)


class ReplicaRow(NamedTuple):
    """A replica that runs, or whose session has not expired yet. Times are the database's (epoch ms)."""

    id: str
    """Its session: a random id, new at each start."""
    name: str
    version: str
    process: str
    """Which process of which machine it is; empty: unknown."""
    started_at: Millis
    """When its session began, or went on after it was cut off."""
    renewed_at: Millis
    expires_at: Millis
    rules: str
    """The fingerprint of the rules that it judges by."""
    sha256: str
    """The hash of the files of these rules."""
    takes_leases: int
    """1: it takes leases. 0: it does not yet, because it starts, or no longer, because it stops."""


class LeaseRow(NamedTuple):
    name: str
    replica: str | None
    """The session that holds it; None: no replica does."""
    fence: int
    """Grows with each grant."""
    since: Millis
    """When it was granted last, or became free (epoch ms of the database)."""
    passed_on: str
    """How it left its last holder: released or expired; empty: it had none."""


@dataclass(frozen=True, slots=True)
class RenewalRequest:
    """What a replica sends to renew its session."""

    session: str
    name: str
    version: str
    process: str
    rules: str
    sha256: str
    term: Millis
    """How long the session lasts without a renewal (ms)."""
    wanted: frozenset[str]
    """The names of the leases that its rules need."""
    takes_leases: bool = True
    """Whether it takes leases, as :attr:`ReplicaRow.takes_leases`."""
    ended: frozenset[str] = frozenset()
    """Sessions of processes of the same machine that have certainly ended."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The result of a renewal."""

    now: Millis
    """The time of the database (epoch ms)."""
    rules: str
    """The fingerprint of the rules in force."""
    replicas: tuple[ReplicaRow, ...]
    """All replicas, this one included. Rows of others may have changed, too."""
    leases: tuple[LeaseRow, ...]
    """All leases."""
    expelled: tuple[ReplicaRow, ...]
    """The replicas whose sessions have ended: what they have under way is interrupted."""
    taken: frozenset[str]
    """The leases that this replica takes now."""
    surplus: frozenset[str]
    """The leases that this replica is to release, once nothing is under way by them."""


def renew(
    replicas: Collection[ReplicaRow],
    leases: Collection[LeaseRow],
    request: RenewalRequest,
    in_force: str,
    now: Millis,
) -> Renewal:
    """Renew a session, or begin one.

    A session that has just begun, or that was cut off itself, does not know whether the others could renew theirs in the time
    before: if the database was away, or its clock was stepped forward, all seem to have expired. So in its first half term it
    expels only those that have certainly ended.

    :param replicas: all; a session without a row begins
    :param in_force: the fingerprint of the rules in force; only replicas that judge by them hold leases
    """
    replicas = [_not_ahead(each, now) for each in replicas]
    before = next((each for each in replicas if each.id == request.session), None)
    goes_on = before is not None and now - before.renewed_at <= request.term
    began = before.started_at if before is not None and goes_on else now
    me = ReplicaRow(
        request.session, request.name, request.version, request.process, began, now, now + request.term, request.rules, request.sha256,
        int(request.takes_leases),
    )  # fmt: skip
    knows_others = now - began >= request.term // 2
    expelled = [
        each
        for each in replicas
        if each.id != request.session
        and (each.id in request.ended or (knows_others and each.expires_at <= now))
    ]
    gone = {each.id for each in expelled}
    live = [each for each in replicas if each.id != request.session and each.id not in gone]
    live.append(me)
    known = {each.name: each._replace(since=min(each.since, now)) for each in leases}
    for name in request.wanted - known.keys():
        known[name] = LeaseRow(name, None, 0, now, "")
    held_by_live = {each.id for each in live}
    for each in list(known.values()):
        if each.replica is not None and each.replica not in held_by_live:
            known[each.name] = each._replace(replica=None, since=now, passed_on=EXPIRED)
    taken, surplus = _balance(known, live, request, in_force, now)
    for name in taken:
        known[name] = known[name]._replace(replica=request.session, fence=known[name].fence + 1, since=now)
    ordered = tuple(sorted(known.values()))
    return Renewal(now, in_force, tuple(sorted(live)), ordered, tuple(expelled), taken, surplus)


def _not_ahead(replica: ReplicaRow, now: Millis) -> ReplicaRow:
    """Return a replica whose session lasts for its term from now at most. Otherwise, after the database's clock was stepped
    back, a replica that has ended would keep its leases for as long as the step was.
    """
    ahead = max(0, replica.renewed_at - now)
    return replica._replace(
        started_at=min(replica.started_at, now),
        renewed_at=replica.renewed_at - ahead,
        expires_at=replica.expires_at - ahead,
    )


def _balance(
    known: Mapping[str, LeaseRow],
    live: Collection[ReplicaRow],
    request: RenewalRequest,
    in_force: str,
    now: Millis,
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the leases to take, and those to release, so that all replicas that take leases hold about as many.

    A lease is left to others only if its last holder has released it, and for a quarter of a term: then they had the time to
    take it. One that has expired is taken at once, because the others may be dead, too.
    """
    mine = sorted(each.name for each in known.values() if each.replica == request.session)
    if request.rules != in_force:
        return frozenset(), frozenset(mine)
    unwanted = frozenset(mine) - request.wanted
    if not request.takes_leases:
        return frozenset(), unwanted
    # One that has not renewed its session for two intervals may be dead.
    takers = [
        each.id
        for each in live
        if each.takes_leases and each.rules == in_force and now - each.renewed_at <= request.term // 2
    ]
    counts = {id_: sum(each.replica == id_ for each in known.values()) for id_ in takers}
    free = sorted(
        (each for each in known.values() if each.replica is None and each.name in request.wanted),
        key=lambda each: (not _is_overdue(each, request.term, now), each.name),
    )
    overdue = sum(_is_overdue(each, request.term, now) for each in free)
    share = -(-len(request.wanted) // len(takers))
    taken = frozenset(each.name for each in free[: max(overdue, share - len(mine))])
    if not free and counts[request.session] > min(counts.values()) + 1:
        return taken, unwanted | set(mine[-1:])
    return taken, unwanted


def _is_overdue(lease: LeaseRow, term: Millis, now: Millis) -> bool:
    """Return whether a free lease is to be taken, whatever others hold."""
    return lease.passed_on == EXPIRED or now - lease.since > term // 4
