"""Stores the tests of receivers and their results, and the last slot of the drill.

They are rows of ``meta``: one for each of the last :data:`MAX_TESTS` tests.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import sqlalchemy as sa

from router.model import (
    OWN_SOURCE,
    AnswerState,
    MessageAnswer,
    Millis,
    ReceiverTest,
    TestedDestination,
    TestOutcome,
)
from router.store.alert_answers import DestinationProgress, read_progress
from router.store.database import Database
from router.store.notices import ReplicaTopic, notify, topic_notice
from router.store.schema import meta
from router.store.shared_reading import SharedReading
from router.store.starts import set_meta

MAX_TESTS = 400
_MAX_AGE_SECONDS = 1.0
"""How old the shared list may be while nothing is committed: another process may change the database."""
_PREFIX = "receiver test: "
_DRILL = "drill"
_UNFINISHED = '"finished_at": null'
_IS_TEST = meta.c.key.startswith(_PREFIX, autoescape=True)


@dataclass(frozen=True, slots=True)
class DrillSlot:
    """The last slot of the drill that was begun or left out."""

    slot: Millis
    schedule: str
    """The schedule that it is a slot of, as text."""


class StoredTests:
    """Reads and writes tests of receivers.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shared = SharedReading(
            lambda: database.read(read_tests), lambda: database.commits, max_age=_MAX_AGE_SECONDS
        )

    async def save(self, tests: Sequence[ReceiverTest], slot: DrillSlot | None = None) -> None:
        """Store tests as they are now, in one transaction. :param slot: the slot of the drill that begins with them"""
        sender = self._database.session
        await self._database.write(partial(_save, tests=tests, slot=slot, sender=sender))

    async def begin(self, test: ReceiverTest, most: int) -> list[ReceiverTest]:
        """Store a new test, unless another test of its receiver is under way, or ``most`` tests of any.

        :returns: the tests under way, if it was not stored
        """
        sender = self._database.session
        return await self._database.write(partial(_begin, test=test, most=most, sender=sender))

    async def under_way(self) -> list[ReceiverTest]:
        """Return the tests that have not finished, the newest first."""
        return await self._database.read(_under_way)

    async def last_slot(self) -> DrillSlot | None:
        """Return the last slot of the drill; None: no drill has ever been configured."""
        return await self._database.read(_last_slot)

    async def all(self) -> list[ReceiverTest]:
        """Return the last :data:`MAX_TESTS` tests, the newest first. All who ask in the same moment share one reading."""
        return await self._shared.get()

    async def progress(self, test: ReceiverTest, identity: str) -> dict[str, DestinationProgress]:
        """Return how the notifications of a test went by now, by destination. :param identity: of its alert"""
        since = test.started_at
        return await self._database.read(lambda c: read_progress(c, OWN_SOURCE, identity, since))

    async def one(self, test: str) -> ReceiverTest | None:
        """Return a test; None: there is none with this id, or it is too old."""
        return await self._database.read(partial(_read_test, test=test))


def read_tests(connection: sa.Connection) -> list[ReceiverTest]:
    """Return all stored tests, the newest first."""
    rows = connection.execute(sa.select(meta.c.key, meta.c.value).where(_IS_TEST)).all()
    return [_parse(value) for _, value in sorted(((key, value) for key, value in rows), reverse=True)]


def _under_way(connection: sa.Connection) -> list[ReceiverTest]:
    is_under_way = meta.c.value.contains(_UNFINISHED, autoescape=True)
    rows = connection.execute(sa.select(meta.c.key, meta.c.value).where(_IS_TEST, is_under_way)).all()
    found = (_parse(value) for _, value in sorted(((key, value) for key, value in rows), reverse=True))
    return [each for each in found if not each.is_finished]


def _begin(connection: sa.Connection, *, test: ReceiverTest, most: int, sender: str) -> list[ReceiverTest]:
    others = _under_way(connection)
    if len(others) >= most or any(each.receiver == test.receiver for each in others):
        return others
    _save(connection, tests=[test], slot=None, sender=sender)
    return []


def _save(
    connection: sa.Connection, *, tests: Sequence[ReceiverTest], slot: DrillSlot | None, sender: str
) -> None:
    for each in tests:
        set_meta(connection, _PREFIX + each.id, json.dumps(asdict(each)))
    if slot is not None:
        set_meta(connection, _DRILL, json.dumps(asdict(slot)))
    known = sorted(connection.execute(sa.select(meta.c.key).where(_IS_TEST)).scalars(), reverse=True)
    if gone := known[MAX_TESTS:]:
        connection.execute(sa.delete(meta).where(meta.c.key.in_(gone)))
    notify(connection, topic_notice(sender, ReplicaTopic.TESTS))


def _last_slot(connection: sa.Connection) -> DrillSlot | None:
    value = connection.execute(sa.select(meta.c.value).where(meta.c.key == _DRILL)).scalar()
    return None if value is None else DrillSlot(**json.loads(value))


def _read_test(connection: sa.Connection, *, test: str) -> ReceiverTest | None:
    value = connection.execute(sa.select(meta.c.value).where(meta.c.key == _PREFIX + test)).scalar()
    return None if value is None else _parse(value)


def _parse(text: str) -> ReceiverTest:
    """Return a test. Fields that a newer version has added are left out."""
    given = _known(ReceiverTest, json.loads(text))
    destinations = tuple(
        TestedDestination(each["key"], _answer(each["firing"]), _answer(each["end"]))
        for each in given.pop("destinations")
    )
    return ReceiverTest(**{**given, "destinations": destinations, "outcome": TestOutcome(given["outcome"])})


def _answer(given: dict[str, Any]) -> MessageAnswer:
    return MessageAnswer(**{**_known(MessageAnswer, given), "state": AnswerState(given["state"])})


def _known(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in given.items() if name in names}
