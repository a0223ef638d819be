"""Pruning: what is finished and old goes, its sums stay, and whatever something still refers to is kept.

Candidates are looked for on a reader's connection, so that the writer, which webhooks wait for, is only busy with
rows that go. It looks at each of them once more: a dead letter may have been taken up again meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.model import Millis, Retention
from router.store.schema import conversations

# Rows that go in one transaction: a webhook waits for one at most.
ROWS_PER_TRANSACTION = 500

IDS: list[sa.BindParameter[int]] = [p(f"id{number}") for number in range(ROWS_PER_TRANSACTION)]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is older than these may go (epoch ms)."""

    history: Millis
    bodies: Millis
    messages: Millis

    @property
    def parameters(self) -> dict[str, Millis]:
        return {
            "before": self.history,
            "bodies_before": self.bodies,
            "messages_before": self.messages,
        }


def bounds(connection: sa.Connection, retention: Retention, now: Millis) -> Bounds:
    """A digest that has not gone out yet counts what happened since the one before it, however late it is."""
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
    """Adds rows into a table of sums.

    :param rows: what to add: the sums' columns by name, for the rows in ``IDS``
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
        for row in map(dict, connection.execute(self._rows, ids).mappings().all()):
            more = connection.execute(self._more, {f"{name}_": value for name, value in row.items()})
            if not more.rowcount:
                connection.execute(self._new, row)


@dataclass(frozen=True, slots=True)
class PruneRule:
    """Rows of one table that go by one rule."""

    table: sa.Table
    expired: sa.ColumnElement[bool]
    """Which rows may go, by the parameters of :class:`Bounds`."""
    sums: tuple[SumUpdate, ...] = ()
    weight: sa.ColumnElement[int] = field(default_factory=lambda: sa.literal(1))
    """How many rows go with each."""
    actions: tuple[sa.UpdateBase, ...] = ()
    """What is done to the rows in ``IDS``; nothing said: they are deleted."""
    before: Callable[[sa.Connection, Sequence[int]], None] | None = None
    """What is done before that, with their ids."""
    _check: sa.Select[Any] = field(init=False)
    _actions: tuple[sa.UpdateBase, ...] = field(init=False)

    def __post_init__(self) -> None:
        key = self.table.c.id
        actions = self.actions or (sa.delete(self.table).where(key.in_(IDS)),)
        object.__setattr__(self, "_check", sa.select(key).where(key.in_(IDS), self.expired))
        object.__setattr__(self, "_actions", actions)

    def find(self, connection: sa.Connection, bounds: Bounds, after: int) -> list[int]:
        """The next rows that may go, in the order of their ids; no more than fit into one transaction."""
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
        """How many of the found rows went: those that still may."""
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
    return {bind.key: ids[min(number, len(ids) - 1)] for number, bind in enumerate(IDS)}
