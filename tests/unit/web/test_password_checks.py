"""Passwords are checked in a thread of their own; guessing neither occupies it nor is remembered for long."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from router.web.access import password_checks
from router.web.access.password_checks import (
    FAILURES_SECONDS,
    MAX_FAILURES,
    MAX_WAITING,
    MAX_WAITING_PER_PEER,
    WRONG_SECONDS,
    AgedCache,
    PasswordChecks,
    TooManyChecks,
    matches,
)
from tests.unit.web.accounts import hashed

HASH = hashed("right")


class Seconds:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hashing waits until the event is set."""
    opened = threading.Event()

    def slow(password: str, password_hash: str) -> bool:
        opened.wait()
        return matches(password, password_hash)

    monkeypatch.setattr(password_checks, "matches", slow)
    yield opened
    opened.set()


async def test_what_was_right_is_remembered_and_what_was_wrong_for_a_time() -> None:
    clock = Seconds()
    checks = PasswordChecks(clock)
    for password, hashed_again in (("right", 0), ("wrong", 1)):
        before = checks.hashed
        for _ in range(3):
            assert await checks.is_right("a", password, password, HASH) is (password == "right")
        assert checks.hashed == before + 1
        clock.now += 10 * WRONG_SECONDS
        await checks.is_right("a", password, password, HASH)
        assert checks.hashed == before + 1 + hashed_again
    await checks.close()


async def test_guessing_at_the_pages_keeps_no_webhook_out(gate: threading.Event) -> None:
    checks = PasswordChecks()
    assert not gate.is_set()
    guesses = [
        asyncio.ensure_future(checks.is_right(f"peer {number}", f"{number}", "x", HASH))
        for number in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)  # real time: none; the tasks begin
    with pytest.raises(TooManyChecks):
        await checks.is_right("somebody", "h", "right", HASH)
    webhook = asyncio.ensure_future(checks.is_right("peer 1", "h", "right", HASH, webhook=True))
    await asyncio.sleep(0)  # real time: none; the task begins
    gate.set()
    assert await webhook
    assert not any(await asyncio.gather(*guesses))
    await checks.close()


async def test_another_hash_is_another_check() -> None:
    checks = PasswordChecks()
    assert await checks.is_right("a", "h", "right", HASH)
    assert not await checks.is_right("a", "h", "right", hashed("other"))
    await checks.close()


async def test_what_was_wrong_before_a_reload_is_checked_again(gate: threading.Event) -> None:
    checks = PasswordChecks()
    first = asyncio.ensure_future(checks.is_right("a", "h", "wrong", HASH))
    await asyncio.sleep(0)  # real time: none; the task begins
    checks.forget()
    gate.set()
    assert not await first
    assert not await checks.is_right("a", "h", "wrong", HASH)
    assert checks.hashed == 2
    await checks.close()


async def test_the_same_credentials_wait_for_one_check(gate: threading.Event) -> None:
    checks = PasswordChecks()
    waiting = [asyncio.ensure_future(checks.is_right("a", "h", "right", HASH)) for _ in range(50)]
    gate.set()
    assert all(await asyncio.gather(*waiting))
    assert checks.hashed == 1
    await checks.close()


async def test_one_address_can_not_occupy_the_thread(gate: threading.Event) -> None:
    checks = PasswordChecks()

    def check(peer: str, number: int) -> asyncio.Task[bool]:
        return asyncio.ensure_future(checks.is_right(peer, f"{peer}{number}", "wrong", HASH))

    first = [check("guesser", number) for number in range(MAX_WAITING_PER_PEER)]
    with pytest.raises(TooManyChecks, match="in a moment") as caught:
        await check("guesser", -1)
    assert caught.value.status == 503
    others = [check(f"peer{number}", 0) for number in range(MAX_WAITING - MAX_WAITING_PER_PEER)]
    with pytest.raises(TooManyChecks):
        await check("another", 0)
    gate.set()
    assert not any(await asyncio.gather(*first, *others))
    assert not await check("another", 0)
    await checks.close()


async def test_an_address_that_guesses_has_to_wait() -> None:
    clock = Seconds()
    checks = PasswordChecks(clock)
    for number in range(MAX_FAILURES):
        assert not await checks.is_right("guesser", str(number), "wrong", HASH)
    with pytest.raises(TooManyChecks, match="too many wrong passwords") as caught:
        await checks.is_right("guesser", "next", "right", HASH)
    assert caught.value.status == 429
    assert 0 < caught.value.seconds <= FAILURES_SECONDS + 1
    assert await checks.is_right("another", "h", "right", HASH)
    assert await checks.is_right("guesser", "h", "right", HASH)  # it is remembered, so it costs nothing
    clock.now += FAILURES_SECONDS
    assert await checks.is_right("guesser", "next", "right", HASH)
    await checks.close()


def test_a_cache_keeps_the_entries_that_were_used_last() -> None:
    clock = Seconds()
    cache: AgedCache[int] = AgedCache(2, 10.0, clock)
    cache.put(b"a", 1)
    cache.put(b"b", 2)
    assert cache.get(b"a") == 1
    cache.put(b"c", 3)
    assert [cache.get(key) for key in (b"a", b"b", b"c")] == [1, None, 3]
    clock.now += 10
    assert cache.get(b"a") is None
    assert len(cache) == 1


@pytest.mark.parametrize("password", ["x" * 73, "right\0", "", "Right", "r\udcffight", "ä" * 40])
def test_other_passwords_do_not_match(password: str) -> None:
    assert not matches(password, HASH)
    assert matches("right", HASH)


def test_a_long_password_is_not_cut() -> None:
    assert matches("x" * 72, hashed("x" * 72))
    assert not matches("x" * 73, hashed("x" * 72))
