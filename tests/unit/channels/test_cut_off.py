"""An attempt that may not go on any more, because another replica may have its lease, sends nothing more."""

import asyncio
import contextlib
import random
import ssl
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from router.channels.steps import check_may_send
from router.core.head import LeaseLost
from router.deliver.attempt import send_once
from router.model import Delivered, Outcome
from router.store import ClaimedDelivery
from tests.unit.channels.rigs import ChannelRig, channel_at, channels_with, rig_of
from tests.unit.channels.talk import TEMPLATES
from tests.waiting import seconds_pass
from tests.world.fake_anything import Anything, Speak, after_request, smtp

_OVER_HTTP = channels_with(lambda rig: not rig.speaks_smtp)
_COMMANDS = ("GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA")


async def attempt(name: str, address: str, may_go_on: Callable[[], bool]) -> Outcome:
    """Send the first message of the channel's rig. :raises LeaseLost: it was cut off"""
    random.seed(0)  # the boundaries within a mail are random
    talk = rig_of(name).conversations[0]
    channel, place = channel_at(name, address)
    work = cast("ClaimedDelivery", SimpleNamespace(conversation=talk, delivery=1))
    try:
        return await send_once(channel, place, work, channel.render(place, talk, TEMPLATES), may_go_on)
    finally:
        await channel.close()


class Heard:
    """What a provider received over each of its connections."""

    def __init__(self) -> None:
        self.connections: list[bytearray] = []

    @property
    def last(self) -> bytes:
        """What came over the last connection; empty: there was none, or nothing came."""
        return bytes(self.connections[-1]) if self.connections else b""

    def listening(self, speak: Speak) -> Speak:
        """Return what does the same, and notes what it receives."""

        async def noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            data = bytearray(reader._buffer)  # type: ignore[attr-defined]
            self.connections.append(data)
            feed = reader.feed_data

            def feed_and_note(more: bytes) -> None:
                data.extend(more)
                feed(more)

            reader.feed_data = feed_and_note  # type: ignore[method-assign, assignment]
            await speak(reader, writer)

        return noted


@pytest.fixture
def server_tls(rig: ChannelRig, request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    if not rig.speaks_smtp:
        return None
    request.getfixturevalue("trusted")
    tls = request.getfixturevalue("tls")
    assert isinstance(tls, ssl.SSLContext)
    return tls


async def test_an_attempt_can_be_cut_off_at_each_of_its_steps(
    name: str, rig: ChannelRig, server_tls: ssl.SSLContext | None
) -> None:
    heard, asked, allowed = Heard(), 0, 10**9

    def may_go_on() -> bool:
        nonlocal asked
        asked += 1
        return asked <= allowed

    async with Anything(server_tls) as provider:
        provider.speak = heard.listening(rig.success)
        assert isinstance(await attempt(name, provider.address, may_go_on), Delivered)
        whole, questions = heard.last, asked
        assert questions >= 2
        for number in range(questions):
            asked, allowed = 0, number
            with pytest.raises(LeaseLost):
                await attempt(name, provider.address, may_go_on)
    assert all(whole.startswith(each) for each in heard.connections)
    assert len(heard.connections) <= questions  # the first one in the loop has none


@pytest.mark.parametrize("name", ["email"])
@pytest.mark.parametrize("command", _COMMANDS)
async def test_a_mail_is_cut_off_between_an_answer_and_the_next_command(
    name: str, command: str, server_tls: ssl.SSLContext | None
) -> None:
    """The process is stopped while it waits for the answer, and goes on when the answer is there."""
    is_trusted, heard, ended = True, Heard(), asyncio.Event()

    async def end_trust(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal is_trusted
        is_trusted = False
        heard.connections[-1].clear()
        writer.write(_ANSWERS[command])
        with contextlib.suppress(OSError):
            await reader.read()
        ended.set()

    async with Anything(server_tls) as provider:
        provider.speak = heard.listening(smtp(command, end_trust))
        with pytest.raises(LeaseLost):
            await attempt(name, provider.address, lambda: is_trusted)
        await ended.wait()
    assert heard.last == b""


_ANSWERS = {
    "GREETING": b"220 any\r\n", "EHLO": b"250-any\r\n250 AUTH PLAIN LOGIN\r\n", "AUTH": b"235 in\r\n",
    "MAIL": b"250 ok\r\n", "RCPT": b"250 ok\r\n", "DATA": b"354 go on\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", _OVER_HTTP)
async def test_a_request_is_cut_off_in_its_own_task_or_thread_too(name: str, rig: ChannelRig) -> None:
    """The trust ends while it connects: nothing is sent, even if nothing has cancelled the attempt yet."""
    heard, ended, is_trusted = Heard(), asyncio.Event(), True

    def may_go_on() -> bool:
        nonlocal is_trusted
        is_trusted = is_trusted and threading.current_thread() is threading.main_thread()
        is_trusted = is_trusted and "write_bytes" not in str(asyncio.current_task())
        return is_trusted

    async def note_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await after_request(rig.success)(reader, writer)
        finally:
            ended.set()

    async with Anything() as provider:
        provider.speak = heard.listening(note_the_end)
        with pytest.raises(LeaseLost):
            await attempt(name, provider.address, may_go_on)
        await ended.wait()
    assert heard.last == b""


@pytest.mark.parametrize("name", _OVER_HTTP)
async def test_a_time_limit_in_the_same_moment_sends_no_second_request(name: str, rig: ChannelRig) -> None:
    """Time passes while the process is stopped. The channel would try again with a plainer message."""
    heard, is_trusted = Heard(), True

    async def refuse_late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal is_trusted
        is_trusted = False
        seconds_pass(3_600)
        writer.write(b"HTTP/1.1 400 Any\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")

    async with Anything() as provider:
        provider.speak = heard.listening(after_request(refuse_late))
        with pytest.raises(LeaseLost):
            await attempt(name, provider.address, lambda: is_trusted)
    assert sum(bool(each) for each in heard.connections) == 1


async def test_what_is_cut_off_ends_as_if_it_were_cancelled() -> None:
    """What it does in the end is not cut off again. It runs no other step."""
    done: list[str] = []
    answer = asyncio.get_running_loop().create_future()
    is_trusted = True

    class Channel:
        async def send(self, *_: object) -> Outcome:
            try:
                done.append("asks")
                await answer
                done.append("sends")
            finally:
                await asyncio.sleep(0)  # real time: none passes
                done.append("ends")
            return Delivered()

    sending = asyncio.create_task(
        send_once(
            cast("object", Channel()),  # type: ignore[arg-type]
            SimpleNamespace(key="a"),  # type: ignore[arg-type]
            SimpleNamespace(conversation=None, delivery=1),  # type: ignore[arg-type]
            SimpleNamespace(),  # type: ignore[arg-type]
            lambda: is_trusted,
        )
    )
    for _ in range(3):
        await asyncio.sleep(0)  # real time: none passes
    assert done == ["asks"]
    is_trusted = False
    answer.set_result(None)
    with pytest.raises(LeaseLost):
        await sending
    assert done == ["asks", "ends"]


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_channel_that_goes_on_regardless_has_no_outcome(*, swallows: bool) -> None:
    is_trusted = True

    class Channel:
        async def send(self, *_: object) -> Outcome:
            nonlocal is_trusted
            is_trusted = False
            try:
                await asyncio.sleep(0)  # real time: none passes
            except asyncio.CancelledError:
                if not swallows:
                    raise ValueError("no channel raises this") from None
            return Delivered()

    with pytest.raises(LeaseLost):
        await send_once(
            Channel(),  # type: ignore[arg-type]
            SimpleNamespace(key="a"),  # type: ignore[arg-type]
            SimpleNamespace(conversation=None, delivery=1),  # type: ignore[arg-type]
            SimpleNamespace(),  # type: ignore[arg-type]
            lambda: is_trusted,
        )


async def test_a_cancellation_that_was_swallowed_still_ends_what_writes() -> None:
    async def swallows() -> None:
        task = asyncio.current_task()
        assert task is not None
        check_may_send()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # real time: none passes
        check_may_send()

    task = asyncio.create_task(swallows())
    await asyncio.wait([task])
    assert task.cancelled()
