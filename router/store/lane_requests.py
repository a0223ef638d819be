"""What people ask of lanes that another replica serves, and what that replica answers."""

from functools import partial
from typing import NamedTuple

import sqlalchemy as sa

from router.core.head import NEXT_ID, RefusedJob
from router.model import MINUTE, Millis
from router.store.database import Database
from router.store.notices import ReplicaTopic, notify, topic_notice
from router.store.schema import lane_requests, meta
from router.store.starts import set_meta

PAUSE, RESUME = "pause", "resume"
_OPEN_FOR: Millis = MINUTE
"""How long a request waits for an answer. The person who made it has left by then."""
_KEPT: Millis = 60 * MINUTE
"""How long requests are kept, for those who look into the database."""


class RequestClosed(RefusedJob):
    """A request was answered or closed meanwhile, so it is not to be carried out any more."""


class LaneRequest(NamedTuple):
    """One request."""

    id: int
    destination: str
    action: str
    """pause or resume"""
    actor: str


class LaneRequests:
    """Keeps requests, and their answers.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, destination: str, action: str, actor: str, now: Millis) -> int:
        """Store a request, and wake the other replicas. Return its number. Old requests are deleted."""
        session = self._database.session
        work = partial(ask_in, session=session, row=LaneRequest(0, destination, action, actor), now=now)
        return await self._database.write(work)

    async def unanswered(self, now: Millis) -> list[LaneRequest]:
        """Return the requests of the last minute that nobody has answered, the oldest first."""
        return await self._database.read(partial(_unanswered, now=now))

    async def answer(self, number: int, answer: str, now: Millis) -> None:
        """Answer a request, and wake the replica that waits for it. :param answer: JSON"""
        await self._database.write(
            partial(_answer, session=self._database.session, number=number, answer=answer, now=now)
        )

    async def close(self, destination: str, number: int) -> None:
        """Close an open request to a destination, and older ones: nobody is to do any more what they ask."""
        await self._database.write(partial(close_in, destination=destination, number=number))

    async def answer_to(self, number: int) -> str | None:
        """Return the answer to a request; empty: it was closed without one; None: there is none yet."""
        asked = sa.select(lane_requests.c.answer).where(lane_requests.c.id == number)
        return await self._database.read(lambda connection: connection.execute(asked).scalar())


def ask_in(connection: sa.Connection, *, session: str, row: LaneRequest, now: Millis) -> int:
    """Store a request as :meth:`LaneRequests.ask` does, in the transaction of the caller."""
    connection.execute(sa.delete(lane_requests).where(lane_requests.c.at < now - _KEPT))
    number = _new_id(connection)
    connection.execute(sa.insert(lane_requests).values(**row._replace(id=number)._asdict(), at=now))
    notify(connection, topic_notice(session, ReplicaTopic.REQUESTS))
    return number


def _new_id(connection: sa.Connection) -> int:
    """Return a number that is never used again, also if its row is deleted."""
    number = int(connection.execute(sa.select(meta.c.value).where(meta.c.key == NEXT_ID)).scalar() or 1)
    set_meta(connection, NEXT_ID, str(number + 1))
    return number


def close_in(connection: sa.Connection, destination: str, number: int | None) -> None:
    """Close requests as :meth:`LaneRequests.close` does, in the transaction of the caller. :param number: None: all"""
    row = lane_requests.c
    until = () if number is None else (row.id <= number,)
    open_ones = (row.destination == destination, row.answer.is_(None), *until)
    connection.execute(sa.update(lane_requests).where(*open_ones).values(answer=""))


def check_open(connection: sa.Connection, number: int) -> None:
    """:raises RequestClosed: a request is not open any more"""
    row = lane_requests.c
    if connection.execute(sa.select(row.id).where(row.id == number, row.answer.is_(None))).first() is None:
        raise RequestClosed(number)


def may_end_pause(connection: sa.Connection, destination: str, number: int) -> bool:
    """Return whether a request to a destination is open, and none to pause it is newer."""
    row = lane_requests.c
    is_this = sa.and_(row.id == number, row.answer.is_(None))
    is_newer_pause = sa.and_(row.id > number, row.destination == destination, row.action == PAUSE)
    found = connection.execute(sa.select(row.id).where(sa.or_(is_this, is_newer_pause))).scalars().all()
    return found == [number]


def _unanswered(connection: sa.Connection, *, now: Millis) -> list[LaneRequest]:
    columns = (lane_requests.c[name] for name in LaneRequest._fields)
    found = connection.execute(
        sa.select(*columns)
        .where(lane_requests.c.answer.is_(None), lane_requests.c.at > now - _OPEN_FOR)
        .order_by(lane_requests.c.id)
    )
    return [LaneRequest(*row) for row in found]


def _answer(connection: sa.Connection, *, session: str, number: int, answer: str, now: Millis) -> None:
    connection.execute(
        sa.update(lane_requests)
        .where(lane_requests.c.id == number, lane_requests.c.answer.is_(None))
        .values(answer=answer, answered_at=now)
    )
    notify(connection, topic_notice(session, ReplicaTopic.REQUESTS))
