"""What a question is, and what questions share."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import sqlalchemy as sa

Answers = dict[Any, Any]
"""By the parameters of the question."""
Question = Callable[[sa.Connection, Iterable[Any]], Answers]
"""Takes a connection and the parameters of all that ask it."""

KEYS_PER_STATEMENT = 500


def one_by_one(answer: Callable[[sa.Connection, Any], Any]) -> Question:
    """A question that is asked once for each of its parameters."""

    @wraps(answer)
    def answers(connection: sa.Connection, keys: Iterable[Any]) -> Answers:
        return {key: answer(connection, key) for key in keys}

    return answers


def as_dict(rows: sa.Result[Any]) -> dict[Any, Any]:
    return dict(map(tuple, rows.all()))


def count_up_to(
    connection: sa.Connection, most: int, id_: sa.ColumnElement[int], *conditions: sa.ColumnElement[bool]
) -> int:
    """How many rows there are, counted up to so many."""
    if most <= 0:
        return 0
    some = sa.select(id_).where(*conditions).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
