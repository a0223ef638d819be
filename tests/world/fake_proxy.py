"""An HTTP proxy that connects every name to one address, and records what it is asked."""

import asyncio
import base64
import contextlib
import re
import ssl
from dataclasses import dataclass

from tests.world.fake_anything import Anything

USER, PASSWORD = "proxy-user", "p@ss-of-nobody"
_AUTHORIZATION = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
_QUOTED = "proxy-user:p%40ss-of-nobody"


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    target: str


class FakeProxy(Anything):
    """``async with FakeProxy(provider.address) as proxy: … proxy_url=proxy.url``. It refuses wrong credentials."""

    def __init__(self, leads_to: str, tls: ssl.SSLContext | None = None) -> None:
        """:param tls: given one, the proxy itself speaks TLS"""
        super().__init__(tls)
        self.speak = self._answer
        self.asked: list[Asked] = []
        self.refuses = False
        """It answers 502 to everything."""
        self._leads_to = leads_to

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{_QUOTED}@{self.address}"

    @property
    def url_without_credentials(self) -> str:
        return self.url.replace(f"{_QUOTED}@", "")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        self.asked.append(Asked(method, target))
        given = re.search(r"(?i)\r\nproxy-authorization: *([^\r]*)", head)
        if given is None or given[1] != _AUTHORIZATION:
            writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
        elif self.refuses:
            writer.write(b"HTTP/1.1 502 Not today\r\nContent-Length: 0\r\n\r\n")
        else:
            await self._forward(method, target, head, reader, writer)

    async def _forward(
        self,
        method: str,
        target: str,
        head: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        host, _, port = self._leads_to.rpartition(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = re.sub(r"^http://[^/]*", "", target)
            server_writer.write(head.replace(target, path or "/", 1).encode())
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, server_writer))
                both.create_task(_copy(server_reader, writer))
        finally:
            server_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()
        writer.close()
