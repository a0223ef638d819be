"""Checks passwords against bcrypt hashes, in a thread of its own, and remembers the results.

A check takes a few hundred milliseconds on purpose, so that guessing is slow. The loop never waits for one, and a sender of
webhooks pays for one only now and then. Guessing can't occupy the thread:

- No more than 4 different credentials of one address wait at a time, and 32 in all. Beyond that the answer is 503.
- After 10 wrong ones within a minute, an address has to wait. The answer is 429.

Webhooks are counted apart from all other requests, so that guessing at the pages keeps no webhook out. Credentials that were
right before are in the cache, and need no check.
"""

import asyncio
import hmac
import math
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import bcrypt

from router.threads import Threads

V = TypeVar("V")
MAX_WAITING = 32
MAX_WAITING_PER_PEER = 4
MAX_FAILURES = 10
FAILURES_SECONDS = 60.0
"""How long wrong credentials count against an address."""
WRONG_SECONDS = 60.0
_MAX_REMEMBERED = 1_024
_MAX_GUESSERS = 4_096
_MAX_PASSWORD_BYTES = 72
"""bcrypt ignores what is beyond, so a longer password is refused. https://en.wikipedia.org/wiki/Bcrypt#Maximum_password_length"""


class TooManyChecks(Exception):  # noqa: N818  (names the condition)
    """A password can't be checked now. The text says why, for people.

    :param status: of HTTP
    :param seconds: when to try again
    """

    def __init__(self, status: int, seconds: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.seconds = seconds


class AgedCache(Generic[V]):
    """Keeps the values that were used last, and each one only for some time."""

    def __init__(self, max_entries: int, seconds: float, clock: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: bytes, value: V) -> None:
        self._entries[key] = (self._clock() + self._seconds, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()


class Guesser(NamedTuple):
    """Whose failures are counted."""

    address: str
    webhook: bool
    """Whether it posts webhooks."""


class PasswordChecks:
    """Checks passwords. All of it but bcrypt itself runs on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """:param clock: seconds"""
        self._threads = Threads("passwords", 1)
        self._key = secrets.token_bytes(32)
        self._clock = clock
        # What was right stays right: its key has the hash, too. So guessing can't keep out who was in before.
        self._right: AgedCache[bool] = AgedCache(_MAX_REMEMBERED, math.inf, clock)
        self._wrong: AgedCache[bool] = AgedCache(_MAX_REMEMBERED, WRONG_SECONDS, clock)
        self._failures: OrderedDict[Guesser, tuple[float, int]] = OrderedDict()
        """By guesser: until when its failures count, and how many there are."""
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        self._waiting: Counter[Guesser] = Counter()
        self._generation = 0
        self.hashed = 0
        """How many hashes were computed, for tests and measurements."""

    def forget(self) -> None:
        """Forget what was wrong, because users or their hashes have changed."""
        self._generation += 1
        self._wrong.clear()

    async def is_right(
        self, address: str, authorization: str, password: str, password_hash: str, *, webhook: bool = False
    ) -> bool:
        """Return whether a password has this hash.

        :param address: what failures are counted by, see :func:`router.web.access.peers.network_of`
        :param authorization: the value of the header that has the password
        :raises TooManyChecks: it can't be checked now
        """
        key = self._digest(authorization, password_hash)
        if self._right.get(key):
            return True
        if self._wrong.get(key):
            return False
        task, guesser = self._running.get(key), Guesser(address, webhook)
        if task is None:
            self._admit(guesser)
            task = asyncio.create_task(self._check(key, guesser, password, password_hash, self._generation))
            self._running[key] = task
        return await asyncio.shield(task)  # a request that is cancelled leaves the result to the others

    def _digest(self, *texts: str) -> bytes:
        digest = hmac.new(self._key, digestmod="sha256")
        for text in texts:
            raw = text.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(4) + raw)
        return digest.digest()

    def _admit(self, guesser: "Guesser") -> None:
        until, count = self._failures.get(guesser, (0.0, 0))
        left = until - self._clock()
        if left > 0 and count >= MAX_FAILURES:
            raise TooManyChecks(
                429, int(left) + 1, "There were too many wrong passwords from this address; try again later."
            )
        waiting = sum(count for each, count in self._waiting.items() if each.webhook is guesser.webhook)
        if waiting >= MAX_WAITING or self._waiting[guesser] >= MAX_WAITING_PER_PEER:
            raise TooManyChecks(503, 2, "Too many passwords are being checked; try again in a moment.")
        self._waiting[guesser] += 1

    async def _check(
        self, key: bytes, guesser: "Guesser", password: str, password_hash: str, generation: int
    ) -> bool:
        try:
            right = await self._threads.run(matches, password, password_hash)
            self.hashed += 1
        finally:
            del self._running[key]
            self._waiting[guesser] -= 1
            if not self._waiting[guesser]:
                del self._waiting[guesser]
        if not right:
            self._count_failure(guesser)
        if right:
            self._right.put(key, True)
        elif generation == self._generation:
            self._wrong.put(key, True)
        return right

    def _count_failure(self, guesser: "Guesser") -> None:
        now = self._clock()
        until, count = self._failures.get(guesser, (0.0, 0))
        self._failures[guesser] = (until, count + 1) if until > now else (now + FAILURES_SECONDS, 1)
        self._failures.move_to_end(guesser)
        if len(self._failures) > _MAX_GUESSERS:
            self._failures.popitem(last=False)

    def stand_in_hash(self, name: str, hashes: tuple[str, ...]) -> str | None:
        """Return a hash that no password has, for a name that has none. Its check costs as much as one of a real user, so that
        the time does not tell which names exist.

        :param hashes: of the real users
        :returns: None: no user has a password
        """
        if not hashes:
            return None
        like = hashes[int.from_bytes(self._digest(name)[:8]) % len(hashes)]
        return like[:7] + "." * 53  # the salt and the hash: all zeros, which no password is known to have

    async def close(self) -> None:
        """End the thread. What is being checked is abandoned."""
        for task in list(self._running.values()):
            task.cancel()
        self._threads.shutdown()


def matches(password: str, password_hash: str) -> bool:
    """Return whether a password has this hash. It takes as long as the cost of the hash says."""
    raw = password.encode("utf-8", "surrogatepass")
    right = bcrypt.checkpw(raw[:_MAX_PASSWORD_BYTES], password_hash.encode())
    return right and len(raw) <= _MAX_PASSWORD_BYTES
