"""Packs bodies and messages as the store keeps them; large ones outside the event loop's thread."""

from contextlib import suppress
from functools import partial

from router.model import Millis
from router.packed import pack
from router.store import dictionary
from router.store.database import Database
from router.store.dictionary import LearningPacker
from router.store.health import StoreUnavailable
from router.threads import Threads

_MIN_THREAD_BYTES = 64 * 1024
"""To pack a text of this size or more takes a millisecond or more, so a thread does it."""
_PACK_THREADS = 2


class Packer:
    """Packs texts with the newest dictionary, and learns new dictionaries from them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._packer = LearningPacker()
        self._threads = Threads("store-pack", _PACK_THREADS)

    async def load_dictionary(self) -> None:
        """Use the newest dictionary of the database."""
        self._packer.use(await self._database.read(dictionary.newest))

    async def pack(self, data: bytes) -> bytes:
        """Return a body or a message, packed with the newest dictionary."""
        pack_learned = self._packer.pack
        return (
            pack_learned(data)
            if len(data) < _MIN_THREAD_BYTES
            else await self._threads.run(pack_learned, data)
        )

    async def pack_unlearned(self, data: bytes) -> bytes:
        """Return a body, packed without a learned dictionary: it may have to be quarantined as it was received."""
        return pack(data) if len(data) < _MIN_THREAD_BYTES else await self._threads.run(pack, data)

    async def learn(self, now: Millis) -> None:
        """Keep and use a new dictionary if it is time for one. If the store can't be written, a later call does it."""
        if (words := self._packer.next_dictionary(now)) is not None:
            with suppress(StoreUnavailable):
                self._packer.use(
                    await self._database.write(partial(dictionary.add_dictionary, words=words, now=now))
                )

    def close(self) -> None:
        """End the threads once they have nothing to do. Waits for nothing."""
        self._threads.shutdown()
