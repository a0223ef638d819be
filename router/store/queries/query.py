"""The type of a query, and functions that queries share."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import sqlalchemy as sa

Answers = dict[Any, Any]
"""The answers of one query, by its parameters."""
Query = Callable[[sa.Connection, Iterable[Any]], Answers]
"""Takes a connection, and each set of parameters to run the query with."""

KEYS_PER_STATEMENT = 500
"""The largest number of keys in one statement."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its parameters."""

    sql: sa.CompoundSelect[Any]
    given: Mapping[str, Any]
    has_one_plan: bool = False
    """The same plan is right for all parameters and for tables of any size. So the database may keep it."""


@dataclass(frozen=True, slots=True)
class OneStatement:
    """A query that takes one statement, which can be sent together with others."""

    statement: Callable[[Any], Statement]
    """Returns the statement for a set of parameters."""
    answer: Callable[[Iterable[Any]], Any]
    """Returns the answer from the rows."""

    def __call__(self, connection: sa.Connection, keys: Iterable[Any]) -> Answers:
        asked = {key: self.statement(key) for key in keys}
        return {key: self.answer(connection.execute(each.sql, each.given)) for key, each in asked.items()}


def one_by_one(run: Callable[[sa.Connection, Any], Any]) -> Query:
    """Return a query that calls a function for each set of parameters."""

    @wraps(run)
    def answers(connection: sa.Connection, keys: Iterable[Any]) -> Answers:
        return {key: run(connection, key) for key in keys}

    return answers


def as_dict(rows: sa.Result[Any]) -> dict[Any, Any]:
    """Return rows of two columns as a dictionary from the first to the second."""
    return dict(map(tuple, rows.all()))


def ids_after(
    connection: sa.Connection,
    id_: sa.Column[int],
    after: int,
    limit: int,
    *conditions: sa.ColumnElement[bool],
) -> list[int]:
    """Return the next ids of the rows that fulfil the conditions, in order.

    :param after: the last id of the result before; 0: begin
    :param limit: the largest number of ids
    """
    query = sa.select(id_).where(*conditions, id_ > after).order_by(id_).limit(limit)
    return list(connection.execute(query).scalars())


def count_up_to(
    connection: sa.Connection, most: int, id_: sa.ColumnElement[int], *conditions: sa.ColumnElement[bool]
) -> int:
    """Return how many rows fulfil the conditions; ``most`` if there are more."""
    if most <= 0:
        return 0
    some = sa.select(id_).where(*conditions).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
