"""A provider that answers anything: any status, any body, garbage, or nothing at all."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from tests.listening import address, hang_up
from tests.waiting import seconds_pass

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What the provider does with a connection. The connection is closed afterwards."""
_DRIP = 0.02
"""Seconds between two bytes of a slow answer."""


class Anything:
    """``async with Anything(tls) as provider: … provider.speak = http(503)``"""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.speak: Speak = close
        self.connections = 0
        self.address = ""
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**24)
        self.address = address(self._server)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await hang_up(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._talk(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The other side may close the connection at any moment.
        with contextlib.suppress(OSError, EOFError):
            try:
                await self.speak(reader, writer)
                await writer.drain()
            finally:
                writer.close()
            await writer.wait_closed()


async def close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""


async def fall_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side gives up and closes the connection."""
    gone = asyncio.ensure_future(reader.read())
    while not gone.done():
        seconds_pass(1)
        await asyncio.sleep(0)
    await gone


def drip(start: bytes, gone: asyncio.Event) -> Speak:
    """Return an answer that goes on byte by byte. :param gone: is set when the other side has closed the connection"""

    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        try:
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(_DRIP)  # real time: what drips comes byte by byte
        finally:
            gone.set()

    return speak


def say(raw: bytes) -> Speak:
    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return speak


def after_request(then: Speak) -> Speak:
    """Return an answer that begins when the whole HTTP request has been received."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        await then(reader, writer)

    return speak


def http(
    status: int, body: bytes = b"", media: str = "application/json", reason: str = "Any", **headers: str
) -> Speak:
    if status in {204, 304}:  # they have no body: https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1
        body = b""
    lines = {"Content-Type": media, "Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return after_request(say(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode() + body))


# By command. GREETING is the line before the first command; BODY is the text of the mail, after DATA.
_WELCOME: Mapping[str, bytes] = {
    "GREETING": b"220 any", "EHLO": b"250-any\r\n250 AUTH PLAIN LOGIN", "AUTH": b"235 in", "MAIL": b"250 ok",
    "RCPT": b"250 ok", "DATA": b"354 go on", "BODY": b"250 taken", "QUIT": b"221 bye",
}  # fmt: skip


def smtp(at: str, then: bytes | Speak) -> Speak:
    """Return a smarthost that accepts mails, except for its answer to one command.

    :param at: the command
    :param then: the line that it answers, or what it does instead
    """

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = "GREETING"
        while True:
            answer = then if at == command else _WELCOME.get(command, b"250 ok")
            if not isinstance(answer, bytes):
                return await answer(reader, writer)
            writer.write(answer + b"\r\n")
            if command == "QUIT":
                return None
            if command == "DATA" and answer.startswith(b"354"):
                await reader.readuntil(b"\r\n.\r\n")
                command = "BODY"
                continue
            given = await reader.readline()
            if not given:
                return None
            command = given[:4].decode().strip().upper()

    return speak
