"""Compression dictionaries. They are learned from stored bodies and messages, which then take a third of the space.

A dictionary is learned from a few texts and stored. It never changes, because every text that was packed with it
needs it to be unpacked. The next dictionary gets another number.
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

# How many texts are packed before a dictionary is learned.
_TEXTS_BEFORE_LEARNING = 100
# Longer texts repeat themselves enough to be packed well without a dictionary.
_MAX_SAMPLE_BYTES = 3_000
# Texts that begin with the same bytes are of one kind: the bodies of a sender, the messages of a channel.
_KIND_PREFIX_BYTES, _MAX_KINDS = 24, 4
# How long a dictionary is used before the next one is learned (ms).
_MIN_AGE: Millis = 30 * DAY


class LearningPacker:
    """Packs texts with the newest dictionary, and collects samples for the next one."""

    def __init__(self) -> None:
        self._learned: LearnedDictionary | None = None
        self._at: Millis = 0
        self._samples: dict[bytes, bytes] = {}
        self._seen = 0

    def use(self, newest: tuple[LearnedDictionary, Millis] | None) -> None:
        """Pack with this dictionary from now on.

        :param newest: the newest dictionary and when it was learned (epoch ms); None: change nothing
        """
        if newest is not None:
            (self._learned, self._at), self._seen = newest, 0
            self._samples.clear()

    def pack(self, data: bytes) -> bytes:
        """Return a packed text. It may become a sample."""
        self._seen += 1
        if len(data) <= _MAX_SAMPLE_BYTES:
            kind = data[:_KIND_PREFIX_BYTES]
            if kind in self._samples or len(self._samples) < _MAX_KINDS:
                self._samples[kind] = data
        return pack(data, self._learned)

    def next_dictionary(self, now: Millis) -> bytes | None:
        """Return the words of the next dictionary; None: it is too early for one, or there are too few samples."""
        old_enough = self._learned is None or now - self._at >= _MIN_AGE
        if not old_enough or self._seen < _TEXTS_BEFORE_LEARNING or len(self._samples) < 2:
            return None
        self._seen = 0
        return dictionary_words(self._samples.values())


def newest(connection: sa.Connection) -> tuple[LearnedDictionary, Millis] | None:
    """Return the newest dictionary and when it was learned (epoch ms); None: there is none."""
    row = connection.execute(
        sa.select(dictionaries).order_by(dictionaries.c.id.desc()).limit(1)
    ).mappings().first()  # fmt: skip
    return None if row is None else (LearnedDictionary(row["id"], row["words"]), row["at"])


def add_dictionary(
    connection: sa.Connection, words: bytes, now: Millis
) -> tuple[LearnedDictionary, Millis] | None:
    """Store a new dictionary. Return it and the time; None: there are :data:`~router.packed.MAX_DICTIONARIES` already. If
    another replica has learned one lately, return that one instead.
    """
    known = newest(connection)
    if known is not None and 0 <= now - known[1] < _MIN_AGE:
        return known
    last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(dictionaries.c.id), 0))).scalar_one()
    if last == MAX_DICTIONARIES:
        return None
    connection.execute(sa.insert(dictionaries).values(id=last + 1, words=words, at=now))
    return LearnedDictionary(last + 1, words), now


def unpack_stored(connection: sa.Connection, packed: bytes) -> bytes:
    """Return a packed text unpacked.

    :raises ValueError: the text is damaged, or its dictionary is missing
    """
    number = dictionary_number(packed)
    if number is None:
        return unpack(packed)
    words = connection.execute(sa.select(dictionaries.c.words).where(dictionaries.c.id == number)).scalar()
    if words is None:
        raise ValueError(f"can't unpack the text: dictionary {number} is missing")
    return unpack(packed, LearnedDictionary(number, words))
