"""The kinds of columns and indexes that the tables have. A column may be null only if its kind is optional."""

from typing import Any, Literal

import sqlalchemy as sa

ColumnKind = Literal["number", "text", "blob"]
# Texts are compared by bytes, not by the collation of a language. So an index stays valid when an upgrade of the server's
# operating system changes collations.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def id_column(target: str | None = None) -> sa.Column[int]:
    """Return the primary key ``id``. The router numbers all rows itself. In SQLite, a key of this type is the rowid.

    :param target: the column of another table that the id refers to
    """
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    references = () if target is None else (sa.ForeignKey(target),)
    return sa.Column("id", kind, *references, primary_key=True, autoincrement=False)


def reference(name: str, target: str, *, nullable: bool = False) -> sa.Column[int]:
    """Return a foreign key. :param target: ``table.column``"""
    return sa.Column(name, sa.BigInteger, sa.ForeignKey(target), nullable=nullable)


def text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False, server_default=default)


def optional_text(name: str) -> sa.Column[str]:
    return sa.Column(name, _TEXT)


def text_key(name: str) -> sa.Column[str]:
    """Return a text that is the primary key, or a part of it."""
    return sa.Column(name, _TEXT, primary_key=True)


def number(name: str, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=default)


def optional_number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger)


def number_key(name: str) -> sa.Column[int]:
    """Return a number that is the primary key, or a part of it."""
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def time(name: str) -> sa.Column[int]:
    """Return a time (epoch ms)."""
    return number(name)


def optional_time(name: str) -> sa.Column[int]:
    """Return a time (epoch ms) that may be null."""
    return optional_number(name)


def blob(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def partial_index(name: str, table: sa.Table, *columns: str, where: sa.ColumnElement[bool]) -> None:
    """Add an index of the rows that fulfil a condition. A query uses it only if it has the same condition."""
    sa.Index(name, *(table.c[each] for each in columns), sqlite_where=where, postgresql_where=where)


def kind_of(column: sa.Column[Any]) -> ColumnKind:
    """Return what kind of values a column has: one of the three that all databases have."""
    if isinstance(column.type, sa.LargeBinary):
        return "blob"
    return "number" if isinstance(column.type, sa.Integer) else "text"
