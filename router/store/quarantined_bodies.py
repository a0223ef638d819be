"""Reads and settles the quarantine: the bodies that could not be used, as they were received.

A body may have many megabytes, so no query returns a whole one.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.model import Millis
from router.store.schema import IS_QUARANTINED, WAITS_IN_QUARANTINE, webhooks
from router.store.totals import Total, count_rows

MAX_BEGIN_BYTES = 20_000
"""How much of a body is shown, before and after it is inflated."""
PIECE_BYTES = 256 * 1024
"""How much of a body is read at a time to be downloaded."""
BODIES_PER_TRANSACTION = 500
"""How many bodies one transaction settles. A webhook waits for one such transaction at most."""
_WINDOW_BITS = {"gzip": (16 + zlib.MAX_WBITS,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
_COLUMNS = (
    webhooks.c.id, webhooks.c.source, webhooks.c.received_at, webhooks.c.quarantined.label("reason"),
    webhooks.c.content_encoding.label("encoding"), sa.func.length(webhooks.c.body).label("size"), webhooks.c.settled_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QuarantinedBody:
    """What is known about a quarantined body."""

    id: int
    source: str
    received_at: Millis
    reason: str
    """Why it could not be used, or not completely."""
    encoding: str | None
    """How it is compressed: gzip or deflate; None: it is not."""
    size: int
    """In bytes, as it was received."""
    settled_at: Millis | None


@dataclass(frozen=True, slots=True)
class BodyBegin:
    """The beginning of a quarantined body."""

    body: QuarantinedBody
    begin: bytes
    is_inflated: bool
    """The body is compressed, and ``begin`` is the inflated beginning."""
    is_cut: bool
    """The body goes on."""


def quarantined(
    connection: sa.Connection, source: str | None = None, before: int | None = None, limit: int = 100
) -> list[QuarantinedBody]:
    """Return the newest bodies that are not settled.

    :param source: only those of this source; None: of all
    :param before: only those with a smaller id; None: all
    """
    rows = sa.select(*_COLUMNS).where(WAITS_IN_QUARANTINE).order_by(webhooks.c.id.desc()).limit(limit)
    if source is not None:
        rows = rows.where(webhooks.c.source == source)
    if before is not None:
        rows = rows.where(webhooks.c.id < before)
    return [QuarantinedBody(**row) for row in connection.execute(rows).mappings()]


def count_quarantined(connection: sa.Connection, source: str | None) -> Total:
    """Return how many bodies are not settled. :param source: only those of this source; None: of all"""
    rows = sa.select(webhooks.c.id).where(WAITS_IN_QUARANTINE)
    return count_rows(connection, rows if source is None else rows.where(webhooks.c.source == source))


def find_body(connection: sa.Connection, number: int) -> QuarantinedBody | None:
    """Return a body, settled or not; None: no body of this id was quarantined."""
    row = connection.execute(sa.select(*_COLUMNS).where(*_is(number))).mappings().one_or_none()
    return None if row is None else QuarantinedBody(**row)


def body_begin(connection: sa.Connection, number: int) -> BodyBegin | None:
    """Return the beginning of a body, inflated if that is possible; None: no body of this id was quarantined."""
    body = find_body(connection, number)
    begin = None if body is None else body_piece(connection, number, 0, MAX_BEGIN_BYTES)
    if body is None or begin is None:
        return None
    inflated = None if body.encoding is None else _inflated(begin, body.encoding)
    if inflated is None:
        return BodyBegin(body, begin, is_inflated=False, is_cut=len(begin) < body.size)
    data, has_more = inflated
    return BodyBegin(body, data, is_inflated=True, is_cut=has_more or len(begin) < body.size)


def body_piece(connection: sa.Connection, number: int, offset: int, size: int = PIECE_BYTES) -> bytes | None:
    """Return a piece of a body, as it was received; None: no body of this id is kept.

    :param offset: the number of bytes before the piece
    :param size: the most bytes of the piece
    """
    # SQLite's substr returns NULL for an empty body.
    piece = sa.func.coalesce(sa.func.substr(webhooks.c.body, offset + 1, size), b"", type_=sa.LargeBinary)
    found: Any = connection.execute(sa.select(piece).where(*_is(number))).scalar()
    return None if found is None else bytes(found)


def settle(connection: sa.Connection, number: int, now: Millis) -> bool:
    """Settle a body: it leaves the list. Return False if no body of this id was quarantined."""
    connection.execute(
        sa.update(webhooks).where(*_is(number), webhooks.c.settled_at.is_(None)).values(settled_at=now)
    )
    return find_body(connection, number) is not None


def settle_some(connection: sa.Connection, source: str, until: int, now: Millis) -> int:
    """Settle the next bodies of a source. Return how many these were; 0: none is left.

    :param until: the largest id that is settled
    """
    some = (
        sa.select(webhooks.c.id)
        .where(WAITS_IN_QUARANTINE, webhooks.c.source == source, webhooks.c.id <= until)
        .order_by(webhooks.c.id)
        .limit(BODIES_PER_TRANSACTION)
    )
    ids = connection.execute(some).scalars().all()
    if ids:
        connection.execute(sa.update(webhooks).where(webhooks.c.id.in_(ids)).values(settled_at=now))
    return len(ids)


def _is(number: int) -> tuple[sa.ColumnElement[bool], ...]:
    return webhooks.c.id == number, IS_QUARANTINED


def _inflated(begin: bytes, encoding: str) -> tuple[bytes, bool] | None:
    """Return the inflated beginning of a body, and whether there is more in ``begin``; None: it can't be inflated."""
    for window_bits in _WINDOW_BITS.get(encoding, ()):
        stream = zlib.decompressobj(window_bits)
        try:
            data = stream.decompress(begin, MAX_BEGIN_BYTES)
        except zlib.error:
            continue
        if data:
            return data, not stream.eof or bool(stream.unused_data)
    return None
