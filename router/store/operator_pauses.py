"""Stores which destinations an operator has paused, so that a pause outlasts restarts and reloads."""

import json
from dataclasses import asdict, dataclass, replace
from functools import partial

import sqlalchemy as sa

from router.core.head import Grant
from router.model import Millis
from router.store.database import Database
from router.store.lane_requests import PAUSE, LaneRequest, ask_in, check_open, close_in, may_end_pause
from router.store.notices import ReplicaTopic, notify, topic_notice
from router.store.schema import meta
from router.store.starts import set_meta
from router.store.stored_lanes import check_lease

_PREFIX = "operator pause: "


@dataclass(frozen=True, slots=True)
class OperatorPause:
    """The last pause of a destination by an operator."""

    by: str
    """The name of the operator."""
    since: Millis
    until: Millis | None = None
    """When it ended; None: it lasts."""


class OperatorPauses:
    """Reads and writes the pauses of operators.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> dict[str, OperatorPause]:
        """Return the last pause of each destination that was ever paused, by its key."""
        return await self._database.write(_load)

    async def read(self) -> dict[str, OperatorPause]:
        """Return what :meth:`load` returns, without waiting for the writer."""
        return await self._database.read(_load)

    async def begin(
        self, destination: str, by: str, now: Millis, grant: Grant | None = None, request: int | None = None
    ) -> OperatorPause:
        """Store that a destination is paused. Return the pause: one that lasts already stays as it is.

        :param by: the name of the operator
        :param grant: the lease of its lane; None: no other process serves
        :param request: the number of the request that asks for it; None: a person asks here, and all open requests are closed,
            because they are older
        :raises LeaseLost: the lease is not held any more
        :raises RequestClosed: the request is not open any more
        """
        act = _Act(self._database.session, destination, grant, request)
        return await self._database.write(partial(_begin, act=act, pause=OperatorPause(by, now)))

    async def begin_elsewhere(self, destination: str, by: str, now: Millis) -> tuple[OperatorPause, int]:
        """Do what :meth:`begin` does, and ask the replica that serves the destination to pause it. Both are one transaction, so
        what another person asks is either older than the pause, or newer. Return the pause, and the number of the request.
        """
        request = LaneRequest(0, destination, PAUSE, by)
        return await self._database.write(
            partial(_begin_elsewhere, session=self._database.session, request=request, now=now)
        )

    async def end(
        self, destination: str, now: Millis, grant: Grant | None = None, request: int | None = None
    ) -> None:
        """Store that the pause of a destination has ended, if one lasts. The parameters and errors are those of :meth:`begin`."""
        act = _Act(self._database.session, destination, grant, request)
        await self._database.write(partial(_end, act=act, now=now))

    async def end_unanswered(
        self, destination: str, request: int, now: Millis, *, closes: bool
    ) -> OperatorPause | None:
        """Do what :meth:`end` does for a request that nobody answers, unless a newer one to pause it exists, or it is
        not open any more.

        :param request: its number
        :param closes: whether to close it, and older ones, so that a later holder does not do again what newer actions have
            overtaken. If a newer pause exists, they are closed anyway
        :returns: the newer pause, which lasts; None: none lasts
        """
        work = partial(
            _end_unanswered, session=self._database.session, destination=destination, request=request, now=now, closes=closes
        )  # fmt: skip
        return await self._database.write(work)


@dataclass(frozen=True, slots=True)
class _Act:
    """What a person does. The parameters are those of :meth:`OperatorPauses.begin`."""

    session: str
    """Of this process among the replicas."""
    destination: str
    grant: Grant | None
    request: int | None

    def check(self, connection: sa.Connection) -> None:
        """Check in the transaction that changes the pause that this process may do it: a replica that wakes up late may not."""
        check_lease(connection, self.session, self.grant)
        if self.request is None:
            close_in(connection, self.destination, None)
        else:
            check_open(connection, self.request)


def _tell(connection: sa.Connection, session: str) -> None:
    """Make the other replicas read the pauses again when the transaction commits."""
    notify(connection, topic_notice(session, ReplicaTopic.REQUESTS))


def _load(connection: sa.Connection) -> dict[str, OperatorPause]:
    found = connection.execute(sa.select(meta).where(meta.c.key.startswith(_PREFIX, autoescape=True)))
    return {key.removeprefix(_PREFIX): _parse(value) for key, value in found}


def _begin(connection: sa.Connection, *, act: _Act, pause: OperatorPause) -> OperatorPause:
    act.check(connection)
    _tell(connection, act.session)
    return _begin_in(connection, act.destination, pause)


def _begin_in(connection: sa.Connection, destination: str, pause: OperatorPause) -> OperatorPause:
    before = _one(connection, destination)
    if before is not None and before.until is None:
        return before
    _save(connection, destination, pause)
    return pause


def _begin_elsewhere(
    connection: sa.Connection, *, session: str, request: LaneRequest, now: Millis
) -> tuple[OperatorPause, int]:
    pause = _begin_in(connection, request.destination, OperatorPause(request.actor, now))
    return pause, ask_in(connection, session=session, row=request, now=now)


def _end(connection: sa.Connection, *, act: _Act, now: Millis) -> None:
    act.check(connection)
    _tell(connection, act.session)
    _end_in(connection, act.destination, now)


def _end_in(connection: sa.Connection, destination: str, now: Millis) -> None:
    before = _one(connection, destination)
    if before is not None and before.until is None:
        _save(connection, destination, replace(before, until=now))


def _end_unanswered(
    connection: sa.Connection, *, session: str, destination: str, request: int, now: Millis, closes: bool
) -> OperatorPause | None:
    may_end = may_end_pause(connection, destination, request)
    if may_end:
        _tell(connection, session)
        _end_in(connection, destination, now)
    if closes or not may_end:
        close_in(connection, destination, request)
    pause = _one(connection, destination)
    return None if pause is None or pause.until is not None else pause


def _one(connection: sa.Connection, destination: str) -> OperatorPause | None:
    value = connection.execute(sa.select(meta.c.value).where(meta.c.key == _PREFIX + destination)).scalar()
    return None if value is None else _parse(value)


def _save(connection: sa.Connection, destination: str, pause: OperatorPause) -> None:
    set_meta(connection, _PREFIX + destination, json.dumps(asdict(pause)))


def _parse(value: str) -> OperatorPause:
    return OperatorPause(**json.loads(value))
