"""A connection to a smarthost through an HTTP proxy, for an SMTP client that takes a socket."""

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit

from router.channels.steps import may_send

_MAX_HEAD_BYTES = 16 * 2**10
# A transport closes within five passes of the loop.
_MAX_LOOP_PASSES = 20
_CHUNK_BYTES = 64 * 2**10


class TunnelError(OSError):
    """The proxy can't be reached, or opens no connection to the smarthost. Nothing was sent to the smarthost."""


@contextlib.asynccontextmanager
async def open_tunnel(
    proxy_url: str, host: str, port: int, *, open_within: float, tls: ssl.SSLContext | None
) -> AsyncIterator[socket.socket]:
    """Yield a socket that is connected to ``host:port`` through the proxy, by the method CONNECT.

    https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6

    The bytes go through a pair of sockets: asyncio takes no socket that speaks TLS already, as one to an https:// proxy
    does.

    :param open_within: seconds until the tunnel must be open
    :param tls: what verifies an https:// proxy; None: the system's authorities
    :raises TunnelError:
    """
    try:
        async with asyncio.timeout(open_within):
            reader, writer = await _connect(proxy_url, host, port, tls)
    except TimeoutError:
        raise TunnelError("the proxy does not answer in time") from None
    ours, theirs = socket.socketpair()
    pumps: list[asyncio.Task[None]] = []
    try:
        ours.setblocking(False)
        theirs.setblocking(False)
        local_reader, local_writer = await asyncio.open_connection(sock=ours)
        pumps = [
            asyncio.create_task(_pump(reader, local_writer)),
            asyncio.create_task(_pump(local_reader, writer)),
        ]
        yield theirs
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        writer.transport.abort()
        ours.close()
        await _closed_by_its_transport(theirs)
        theirs.close()


async def _closed_by_its_transport(one: socket.socket) -> None:
    """Wait until the transport that uses a socket has closed it, because the other end is closed.

    The loop still watches the number of a socket that is closed under its transport, and another connection may get that
    number. A socket that no transport uses stays open.
    """
    for _ in range(_MAX_LOOP_PASSES):
        if one.fileno() == -1:
            return
        await asyncio.sleep(0)


async def _connect(
    proxy_url: str, host: str, port: int, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    proxy = urlsplit(proxy_url)
    is_https = proxy.scheme == "https"
    try:
        reader, writer = await asyncio.open_connection(
            proxy.hostname,
            proxy.port or (443 if is_https else 80),
            ssl=(tls or True) if is_https else None,
            limit=_MAX_HEAD_BYTES,
        )
    except OSError as error:
        raise TunnelError(f"the proxy can't be reached: {error}") from error
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
        if proxy.username is not None:
            pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            head += f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
        writer.write(f"{head}\r\n".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        writer.transport.abort()
        raise TunnelError("the proxy gives no answer that can be read") from error
    except BaseException:
        writer.transport.abort()
        raise
    status = answer.partition("\r\n")[0].split(" ", 2)
    if len(status) < 2 or not status[0].startswith("HTTP/1.") or not status[1].startswith("2"):
        writer.transport.abort()
        raise TunnelError(f"the proxy answers: {' '.join(status)}")
    return reader, writer


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy all bytes until there are no more, or until the attempt may not send any more, and close the other side then."""
    with contextlib.suppress(OSError):
        try:
            while (chunk := await reader.read(_CHUNK_BYTES)) and may_send.get()():
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()
