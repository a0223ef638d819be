"""The log of actions: who did what, and how it ended."""

from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from router.model import Millis
from router.store.database import Database
from router.store.schema import actions

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One action."""

    id: int
    at: Millis
    actor: str
    via: str
    """How the actor was recognized."""
    action: str
    target: str
    """What it acted on; empty: nothing in particular."""
    outcome: str | None
    """done, refused or failed; None: it has not ended, or the process ended before."""
    reason: str
    ended_at: Millis | None


class Audit:
    """Writes the log of actions. An action is stored before it begins, so that none is missing after a crash.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, actor: str, via: str, action: str, target: str, now: Millis) -> int:
        """Store that an action begins. Return the number of its line."""

        def insert(connection: sa.Connection) -> int:
            last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(actions.c.id), 0))).scalar_one()
            connection.execute(
                sa.insert(actions),
                {"id": last + 1, "at": now, "actor": actor, "via": via, "action": action, "target": target},
            )
            return int(last) + 1

        return await self._database.write(insert)

    async def refuse(self, actor: str, via: str, action: str, target: str, reason: str, now: Millis) -> None:
        """Store and log an action that its actor may not do."""
        line = await self.begin(actor, via, action, target, now)
        await self.end(line, "refused", reason, now)

    async def end(self, line: int, outcome: str, reason: str, now: Millis) -> None:
        """Store how an action ended, and log it.

        :param outcome: done, refused or failed
        """

        def update(connection: sa.Connection) -> AuditLine:
            connection.execute(
                sa.update(actions)
                .where(actions.c.id == line)
                .values(outcome=outcome, reason=reason, ended_at=now)
            )
            row = connection.execute(sa.select(actions).where(actions.c.id == line)).mappings().one()
            return AuditLine(**row)

        ended = await self._database.write(update)
        log.info(
            "operator action", status=outcome, user=ended.actor, via=ended.via, did=ended.action, target=ended.target,
            reason=reason,
        )  # fmt: skip


def audit_lines(connection: sa.Connection, before: int | None, limit: int) -> list[AuditLine]:
    """Return the newest actions.

    :param before: only those with a smaller id; None: all
    """
    query = sa.select(actions).order_by(actions.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(actions.c.id < before)
    return [AuditLine(**row) for row in connection.execute(query).mappings()]
