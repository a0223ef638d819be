"""The type of a question, and what questions share."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import sqlalchemy as sa

Answers = dict[Any, Any]
"""The answers to one question, by its parameters."""
Question = Callable[[sa.Connection, Iterable[Any]], Answers]
"""Takes a connection, and the parameters with which the question is asked."""

KEYS_PER_STATEMENT = 500
"""How many keys a statement has at most."""


def one_by_one(answer: Callable[[sa.Connection, Any], Any]) -> Question:
    """Make a question of a function that answers it for one key."""

    @wraps(answer)
    def answers(connection: sa.Connection, keys: Iterable[Any]) -> Answers:
        return {key: answer(connection, key) for key in keys}

    return answers


def as_dict(rows: sa.Result[Any]) -> dict[Any, Any]:
    """Return rows of two columns as a dictionary from the first to the second."""
    return dict(map(tuple, rows.all()))


def count_up_to(
    connection: sa.Connection, most: int, id_: sa.ColumnElement[int], *conditions: sa.ColumnElement[bool]
) -> int:
    """Count the rows that fulfil the conditions, up to a bound.

    :param most: the bound
    """
    if most <= 0:
        return 0
    some = sa.select(id_).where(*conditions).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
