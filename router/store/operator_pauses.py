"""Stores which destinations an operator has paused, so that a pause outlasts restarts and reloads."""

import json
from dataclasses import asdict, dataclass, replace
from functools import partial

import sqlalchemy as sa

from router.model import Millis
from router.store.lane_requests import close_until
from router.store.schema import meta
from router.store.starts import set_meta
from router.store.writer import Database

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

    async def begin(self, destination: str, by: str, now: Millis) -> OperatorPause:
        """Store that a destination is paused. Return the pause: one that lasts already stays as it is.

        :param by: the name of the operator
        """
        return await self._database.write(
            partial(_begin, destination=destination, pause=OperatorPause(by, now))
        )

    async def end(self, destination: str, now: Millis, *, request: int | None = None) -> None:
        """Store that the pause of a destination has ended, if one lasts.

        :param request: the number of the request for it that nobody answers. It is closed, and older ones to the destination,
            so that a later holder does not do again what newer actions have overtaken. None: there is none
        """
        await self._database.write(partial(_end, destination=destination, now=now, request=request))


def _load(connection: sa.Connection) -> dict[str, OperatorPause]:
    found = connection.execute(sa.select(meta).where(meta.c.key.startswith(_PREFIX, autoescape=True)))
    return {key.removeprefix(_PREFIX): _parse(value) for key, value in found}


def _begin(connection: sa.Connection, *, destination: str, pause: OperatorPause) -> OperatorPause:
    before = _one(connection, destination)
    if before is not None and before.until is None:
        return before
    _save(connection, destination, pause)
    return pause


def _end(connection: sa.Connection, *, destination: str, now: Millis, request: int | None) -> None:
    if request is not None:
        close_until(connection, destination, request)
    before = _one(connection, destination)
    if before is not None and before.until is None:
        _save(connection, destination, replace(before, until=now))


def _one(connection: sa.Connection, destination: str) -> OperatorPause | None:
    value = connection.execute(sa.select(meta.c.value).where(meta.c.key == _PREFIX + destination)).scalar()
    return None if value is None else _parse(value)


def _save(connection: sa.Connection, destination: str, pause: OperatorPause) -> None:
    set_meta(connection, _PREFIX + destination, json.dumps(asdict(pause)))


def _parse(value: str) -> OperatorPause:
    return OperatorPause(**json.loads(value))
