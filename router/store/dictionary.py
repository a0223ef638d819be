"""A dictionary of what this router is sent and sends, so that bodies and messages are kept in a third of the room.

It is learned once from a few of them, kept, and never changed: what was packed with it needs it for as long as it is
kept. Each that follows has another number.
"""

import sqlalchemy as sa

from router.model import DAY, Millis
from router.packed import (
    MAX_DICTIONARIES,
    LearnedDictionary,
    dictionary_number,
    dictionary_words,
    pack,
    unpack,
)
from router.store.schema import dictionaries

# Texts that are packed before one is learned.
_TEXTS_BEFORE_LEARNING = 100
# Bytes. What is longer repeats itself enough to be packed well as it is.
_MAX_SAMPLE_BYTES = 3_000
# Of one kind are texts that begin alike: the bodies of a sender, the messages of a channel.
_KIND_PREFIX_BYTES, _MAX_KINDS = 24, 4
_MIN_AGE: Millis = 30 * DAY


class LearningPacker:
    """Packs bodies and messages, and learns from them."""

    def __init__(self) -> None:
        self._learned: LearnedDictionary | None = None
        self._at: Millis = 0
        self._samples: dict[bytes, bytes] = {}
        self._seen = 0

    def use(self, newest: tuple[LearnedDictionary, Millis] | None) -> None:
        """:param newest: the dictionary that was learned last, and when; None: there is none"""
        if newest is not None:
            (self._learned, self._at), self._seen = newest, 0
            self._samples.clear()

    def pack(self, data: bytes) -> bytes:
        self._seen += 1
        if len(data) <= _MAX_SAMPLE_BYTES:
            kind = data[:_KIND_PREFIX_BYTES]
            if kind in self._samples or len(self._samples) < _MAX_KINDS:
                self._samples[kind] = data
        return pack(data, self._learned)

    def next_dictionary(self, now: Millis) -> bytes | None:
        """The next dictionary's words, if it is time for one."""
        old_enough = self._learned is None or now - self._at >= _MIN_AGE
        if not old_enough or self._seen < _TEXTS_BEFORE_LEARNING or len(self._samples) < 2:
            return None
        self._seen = 0
        return dictionary_words(self._samples.values())


def newest(connection: sa.Connection) -> tuple[LearnedDictionary, Millis] | None:
    row = connection.execute(
        sa.select(dictionaries).order_by(dictionaries.c.id.desc()).limit(1)
    ).mappings().first()  # fmt: skip
    return None if row is None else (LearnedDictionary(row["id"], row["words"]), row["at"])


def add_dictionary(
    connection: sa.Connection, words: bytes, now: Millis
) -> tuple[LearnedDictionary, Millis] | None:
    """Keep another one, and use it from now on. None: there are as many as can be."""
    last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(dictionaries.c.id), 0))).scalar_one()
    if last == MAX_DICTIONARIES:
        return None
    connection.execute(sa.insert(dictionaries).values(id=last + 1, words=words, at=now))
    return LearnedDictionary(last + 1, words), now


def unpack_stored(connection: sa.Connection, packed: bytes) -> bytes:
    """:raises ValueError: it is damaged"""
    number = dictionary_number(packed)
    if number is None:
        return unpack(packed)
    words = connection.execute(sa.select(dictionaries.c.words).where(dictionaries.c.id == number)).scalar()
    if words is None:
        raise ValueError(f"it can't be unpack_stored: dictionary {number} is missing")
    return unpack(packed, LearnedDictionary(number, words))
