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
    renewed_at: Millis
    expires_at: Millis
    rules: str
    """The fingerprint of the rules that it judges by."""
    sha256: str
    """The hash of the files of these rules."""


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

    :param replicas: all; a session without a row begins
    :param in_force: the fingerprint of the rules in force; only replicas that judge by them hold leases
    """
    replicas = [_not_ahead(each, now) for each in replicas]
    before = next((each for each in replicas if each.id == request.session), None)
    me = ReplicaRow(
        request.session, request.name, request.version, request.process, now if before is None else before.started_at, now,
        now + request.term, request.rules, request.sha256,
    )  # fmt: skip
    # A replica that was itself cut off, or has just begun, does not know whether the others could renew in that time. If the
    # database's clock was stepped forward, all sessions seem to have expired.
    was_cut_off = before is not None and now - before.renewed_at > request.term
    grace = request.term // 2 if before is None else 0
    expelled = [
        each
        for each in replicas
        if each.id != request.session
        and (each.id in request.ended or (not was_cut_off and each.expires_at + grace <= now))
    ]
    gone = {each.id for each in expelled}
    live = [each for each in replicas if each.id != request.session and each.id not in gone]
    live.append(me)
    known = {each.name: each for each in leases}
    for name in request.wanted - known.keys():
        known[name] = LeaseRow(name, None, 0, now, "")
    held_by_live = {each.id for each in live}
    for each in list(known.values()):
        if each.replica is not None and each.replica not in held_by_live:
            known[each.name] = each._replace(replica=None, since=now, passed_on=EXPIRED)
    taken, surplus = _balance(known, live, request, in_force)
    for name in taken:
        known[name] = known[name]._replace(replica=request.session, fence=known[name].fence + 1, since=now)
    ordered = tuple(sorted(known.values()))
    return Renewal(now, in_force, tuple(sorted(live)), ordered, tuple(expelled), taken, surplus)


def _not_ahead(replica: ReplicaRow, now: Millis) -> ReplicaRow:
    """Return a replica whose session lasts for its term from now at most. Otherwise, after the database's clock was stepped
    back, a replica that has ended would keep its leases for as long as the step was.
    """
    ahead = max(0, replica.renewed_at - now)
    return replica._replace(renewed_at=replica.renewed_at - ahead, expires_at=replica.expires_at - ahead)


def _balance(
    known: Mapping[str, LeaseRow], live: Collection[ReplicaRow], request: RenewalRequest, in_force: str
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the leases to take, and those to release, so that all replicas that agree with the rules hold about as many."""
    mine = sorted(each.name for each in known.values() if each.replica == request.session)
    if request.rules != in_force:
        return frozenset(), frozenset(mine)
    agreeing = [each.id for each in live if each.rules == in_force]
    counts = {id_: sum(each.replica == id_ for each in known.values()) for id_ in agreeing}
    free = sorted(
        each.name for each in known.values() if each.replica is None and each.name in request.wanted
    )
    share = -(-len(request.wanted) // len(agreeing))
    taken = frozenset(free[: max(0, share - len(mine))])
    surplus = [name for name in mine if name not in request.wanted]
    if not taken and not free and counts[request.session] > min(counts.values()) + 1:
        surplus += mine[-1:]
    return taken, frozenset(surplus)
