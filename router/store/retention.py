"""How rows are pruned: what is finished and old is deleted, its sums stay, and rows that others refer to are kept.

Rows are found on a reader's connection, so that the writer, which webhooks wait for, only handles rows that are deleted. The
writer checks each of them again, because it may have changed: a dead letter may have been retried meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.model import Millis, Retention
from router.store.schema import conversations

# How many rows one transaction deletes. A webhook waits for one such transaction at most.
ROWS_PER_TRANSACTION = 500

IDS: list[sa.BindParameter[int]] = [p(f"id{number}") for number in range(ROWS_PER_TRANSACTION)]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Rows that are older than these times (epoch ms) are no longer needed."""

    history: Millis
    bodies: Millis
    messages: Millis
    quarantined_until: int = 0
    """The highest id of a quarantined body that is beyond the limits of the quarantine. It is not a time."""

    @property
    def parameters(self) -> dict[str, Millis]:
        """The parameters of the conditions of rules."""
        return {
            "before": self.history,
            "bodies_before": self.bodies,
            "messages_before": self.messages,
            "quarantined_until": self.quarantined_until,
        }


def bounds(connection: sa.Connection, retention: Retention, now: Millis) -> Bounds:
    """Return the times before which rows are no longer needed.

    The history that an open digest reports on is kept, however late the digest is.
    """
    reported_since = connection.execute(
        sa.select(sa.func.min(conversations.c.since)).where(conversations.c.state == "open")
    ).scalar_one()
    history = now - retention.history
    return Bounds(
        history if reported_since is None else min(history, reported_since),
        now - retention.webhooks,
        now - retention.messages,
    )


class SumUpdate:
    """Adds pruned rows to a table of sums.

    :param rows: selects what to add: the columns of the table of sums by name, for the rows in ``IDS``
    """

    def __init__(self, table: sa.Table, rows: sa.Select[*tuple[Any, ...]]) -> None:
        keys = [column for column in table.c if column.name != "count"]
        self._rows = rows
        self._new = sa.insert(table)
        self._more = (
            sa.update(table)
            .where(*(key == p(f"{key.name}_") for key in keys))
            .values(count=table.c.count + p("count_"))
        )

    def add(self, connection: sa.Connection, ids: dict[str, int]) -> None:
        """Add the rows with these ids, see :func:`bind_ids`."""
        for row in map(dict, connection.execute(self._rows, ids).mappings().all()):
            more = connection.execute(self._more, {f"{name}_": value for name, value in row.items()})
            if not more.rowcount:
                connection.execute(self._new, row)


@dataclass(frozen=True, slots=True)
class PruneRule:
    """Which rows of a table are pruned, and what is done with them."""

    table: sa.Table
    expired: sa.ColumnElement[bool]
    """The condition of rows that can be pruned, with the parameters of :class:`Bounds`."""
    sums: tuple[SumUpdate, ...] = ()
    weight: sa.ColumnElement[int] = field(default_factory=lambda: sa.literal(1))
    """How many rows are deleted with each row."""
    actions: tuple[sa.UpdateBase, ...] = ()
    """The statements for the rows in ``IDS``; empty: they are deleted."""
    before: Callable[[sa.Connection, Sequence[int]], None] | None = None
    """Called before the actions, with the ids."""
    _check: sa.Select[Any] = field(init=False)
    _actions: tuple[sa.UpdateBase, ...] = field(init=False)

    def __post_init__(self) -> None:
        key = self.table.c.id
        actions = self.actions or (sa.delete(self.table).where(key.in_(IDS)),)
        object.__setattr__(self, "_check", sa.select(key).where(key.in_(IDS), self.expired))
        object.__setattr__(self, "_actions", actions)

    def find(self, connection: sa.Connection, bounds: Bounds, after: int) -> list[int]:
        """Return the ids of the next rows that can be pruned, in order; no more than fit into one transaction.

        :param after: the last id of the result before; 0: begin
        """
        key = self.table.c.id
        found = connection.execute(
            sa.select(key, self.weight)
            .where(key > after, self.expired)
            .order_by(key)
            .limit(ROWS_PER_TRANSACTION),
            bounds.parameters,
        )
        ids: list[int] = []
        left = ROWS_PER_TRANSACTION
        for number, weight in found:
            left -= weight
            if left < 0 and ids:
                break
            ids.append(number)
        return ids

    def remove(self, connection: sa.Connection, bounds: Bounds, found: Sequence[int]) -> int:
        """Prune the found rows for which the condition is still true. Return how many rows were pruned."""
        ids = list(connection.execute(self._check, {**bind_ids(found), **bounds.parameters}).scalars())
        if ids:
            for each in self.sums:
                each.add(connection, bind_ids(ids))
            if self.before is not None:
                self.before(connection, ids)
            for action in self._actions:
                connection.execute(action, bind_ids(ids))
        return len(ids)


def bind_ids(ids: Sequence[int]) -> dict[str, int]:
    """Return the parameters of ``IDS``. If there are fewer ids, the last one is repeated."""
    return {bind.key: ids[min(number, len(ids) - 1)] for number, bind in enumerate(IDS)}
