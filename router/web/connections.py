"""Bounds of connections: how many are open, how long a header may take, and how long an answer may stay unread.

When a limit is reached, the connection that has been idle longest gives way to a new one. So senders that open very many
connections, or send their header byte by byte, never keep others out. Every bound is counted in
``alert_router_connections_closed_total``.
"""

import asyncio
import resource
import ssl
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import StreamReader, web

from router.metrics import Metrics
from router.web.access.peers import network_of
from router.web.app_context import KEEPALIVE_SECONDS
from router.web.bad_requests import request_factory

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 4_096
MAX_CONNECTIONS_PER_ADDRESS = 1_024
RESERVED_DESCRIPTORS = 512
"""File descriptors that no accepted connection uses: those of the database, of providers, of files, and of connections
that are being closed.
"""
BACKLOG = 1_024
"""How many connections wait in the kernel to be accepted. With asyncio's default of 100, a burst of new connections delays
others by a second, because the kernel drops their packets. https://man7.org/linux/man-pages/man2/listen.2.html
"""
# Room for the probes and a few senders, whatever the limit of descriptors is.
_MIN_CONNECTIONS = 16

MakeContext = Callable[[], ssl.SSLContext]
"""Returns the TLS settings for the next connection."""


# aiohttp bounds each line of a header and the number of lines, which is a megabyte.
_MAX_HEADER_BYTES = 64 * 1024


class CloseReason:
    """Why the router closes a connection: the values of the metric's label."""

    GAVE_WAY = "gave_way"
    """A limit was reached, and this connection had been idle longest."""
    ALL_BUSY = "all_busy"
    """A limit was reached, and every other connection had a request in flight. The new one is closed."""
    SLOW_HEADER = "slow_header"
    """The header of a request did not arrive in time."""
    LARGE_HEADER = "large_header"
    """The header of a request has too many bytes."""
    UNREAD_ANSWER = "unread_answer"
    """The client stopped reading the answer."""
    TLS_HANDSHAKE = "tls_handshake"
    """The TLS handshake failed."""


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """The limits of accepted connections."""

    total: int = MAX_CONNECTIONS
    per_address: int = MAX_CONNECTIONS_PER_ADDRESS
    header_seconds: float = 10.0
    """The time limit from the connection (or, for a later request, from its first byte) to the end of the header. A TLS
    handshake is included.
    """
    unread_seconds: float = 60.0
    """How long a client may leave an answer unread that does not fit into the socket's buffers."""

    @classmethod
    def within_descriptors(cls, total: int, per_address: int, descriptors: int) -> "ConnectionBounds":
        """Return bounds for which there are enough file descriptors.

        :param descriptors: how many the process may open
        """
        room = max(_MIN_CONNECTIONS, descriptors - RESERVED_DESCRIPTORS)
        if room < total:
            log.warning(
                "fewer connections than allowed, because the process may open too few files; raise its limit (ulimit -n)",
                connections=room, allowed=total, descriptors=descriptors,
            )  # fmt: skip
        return cls(min(total, room), min(per_address, total, room))


def raise_descriptor_limit() -> int:
    """Raise the limit of open file descriptors of this process to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS refuses an unlimited number
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return descriptor_limit()


def descriptor_limit() -> int:
    """Return how many file descriptors this process may open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS + RESERVED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


class BoundedServer(web.Server):
    """Makes the protocol of each accepted connection, and keeps the connections within their bounds."""

    def __init__(
        self, server: web.Server, bounds: ConnectionBounds, metrics: Metrics, tls: MakeContext | None = None
    ) -> None:
        """:param server: the server of the application; its handler is used
        :param tls: None: connections are not encrypted
        """
        super().__init__(server.request_handler, request_factory=server.request_factory)
        self.bounds = bounds
        self.tls = tls
        self._metrics = metrics
        self._open: OrderedDict[AcceptedConnection, None] = OrderedDict()
        """All connections. The one that received data last is at the end."""
        self._by_address: dict[str, OrderedDict[AcceptedConnection, None]] = {}
        """The same for each address."""
        self._handshakes: set[asyncio.Task[None]] = set()

    def __call__(self) -> "AcceptedConnection":
        return AcceptedConnection(self, asyncio.get_running_loop())

    def admit(self, connection: "AcceptedConnection") -> bool:
        """Register a new connection. If a limit is reached, close the one that has been idle longest.

        :returns: False if all are busy; then the new connection has been closed
        """
        address, bounds = (
            connection.address,
            self.bounds,
        )  # of IPv6: a network, because one client has a whole one
        of_address = self._by_address.get(address, OrderedDict())
        for several, limit in ((of_address, bounds.per_address), (self._open, bounds.total)):
            if len(several) < limit:
                continue
            idle = next((each for each in several if each.is_idle), None)
            if idle is None:
                self.close_connection(connection, CloseReason.ALL_BUSY)
                return False
            self.close_connection(idle, CloseReason.GAVE_WAY)
        self._by_address.setdefault(address, of_address)[connection] = None
        self._open[connection] = None
        self._metrics.connections(len(self._open))
        return True

    def is_open(self, connection: "AcceptedConnection") -> bool:
        """Return whether a connection is admitted and not closed yet."""
        return connection in self._open

    def received(self, connection: "AcceptedConnection") -> None:
        """Note that a connection received data, so it is the last one to give way."""
        if connection in self._open:
            self._open.move_to_end(connection)
            self._by_address[connection.address].move_to_end(connection)

    def forget(self, connection: "AcceptedConnection") -> None:
        """Stop counting a connection. A second call has no effect."""
        if self._open.pop(connection, self) is self:
            return
        of_address = self._by_address[connection.address]
        del of_address[connection]
        if not of_address:
            del self._by_address[connection.address]
        self._metrics.connections(len(self._open))

    def close_connection(self, connection: "AcceptedConnection", reason: str, error: object = None) -> None:
        """Close a connection immediately, count it, and log it. :param reason: see :class:`CloseReason`"""
        self.forget(connection)
        connection.abort()
        self._metrics.connection_closed(reason)
        log.warning(
            "connection closed", reason=reason, peer=connection.address, open=len(self._open),
            **({} if error is None else {"error": str(error)}),
        )  # fmt: skip

    def secure(self, connection: "AcceptedConnection", transport: asyncio.Transport) -> None:
        """Start the TLS handshake of an accepted connection."""
        task = asyncio.create_task(connection.shake_hands(transport))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.forget(cast("AcceptedConnection", handler))

    def pre_shutdown(self) -> None:
        super().pre_shutdown()
        for task in self._handshakes:
            task.cancel()


class AcceptedConnection(web.RequestHandler):
    """One accepted connection.

    It reads two private attributes of aiohttp's class, because nothing public says whether a request is in flight:
    ``_waiter`` is set while the handler waits for the next request, and ``_request_count`` grows with each complete header.
    """

    # The weak reference: who was recognized is remembered for each connection.
    __slots__ = (
        "__weakref__", "_early", "_header_timer", "_payload", "_server", "_socket", "_unfinished", "_unread_timer", "address",
    )  # fmt: skip

    def __init__(self, server: BoundedServer, loop: asyncio.AbstractEventLoop) -> None:
        # aiohttp writes no access log if it has none.
        super().__init__(
            server, loop=loop, access_log=cast(Any, None), keepalive_timeout=KEEPALIVE_SECONDS, auto_decompress=False
        )  # fmt: skip
        self.address = ""
        """The address of the client, without its port."""
        self._server = server
        self._socket: asyncio.BaseTransport | None = None
        """The TCP connection, below TLS."""
        self._early: bytearray | None = None
        """What arrives before the handshake begins; None: it has begun, or the connection is not encrypted."""
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unfinished = 0
        """How many bytes of a header have arrived since the last complete one."""
        self._payload: StreamReader | None = None
        """The body of the last request."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is in flight. A connection that is being closed, or has sent no complete header, is idle."""
        if self._request_count == 0 or self.transport is None or self.transport.is_closing():
            return True
        if self._current_request is None and not self._messages and self._receives_body:
            return True  # its answer is sent, and the rest of its body is ignored
        return self._waiter is not None and not self._waiter.done()

    @property
    def _receives_body(self) -> bool:
        """Whether the body of the last request has not arrived completely."""
        return self._payload is not None and not self._payload.is_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport
        self.address = network_of(str((transport.get_extra_info("peername") or ("unknown",))[0]))
        if not self._server.admit(self):
            return
        self._expect_header()
        if self._server.tls is None:
            super().connection_made(transport)
        else:
            self._early = bytearray()
            tcp = cast(asyncio.Transport, transport)
            tcp.pause_reading()  # has no effect on uvloop, which begins to read after this call
            self._server.secure(self, tcp)

    async def shake_hands(self, transport: asyncio.Transport) -> None:
        """Encrypt the connection, then serve it. The handshake is begun here and not by the event loop, so that the
        connection is counted and bounded meanwhile, and each handshake uses the newest certificate.
        """
        assert self._server.tls is not None  # noqa: S101  (narrows the type)
        # It runs when start_tls has put the protocol of TLS in place, and before more bytes are read.
        self._loop.call_soon(self._replay, transport)
        try:
            encrypted = await self._loop.start_tls(
                transport, self, self._server.tls(), server_side=True,
                ssl_handshake_timeout=self._server.bounds.header_seconds,
            )  # fmt: skip
        except OSError as error:  # an SSLError is one
            self._handshake_failed(error)
        except BaseException:
            self._server.forget(self)
            self.abort()
            raise
        else:
            if encrypted is None or encrypted.is_closing():  # the client has closed it
                self._handshake_failed("the client closed the connection")
            else:
                super().connection_made(encrypted)

    def _replay(self, transport: asyncio.Transport) -> None:
        """Pass to TLS what arrived before the handshake began."""
        early, self._early = self._early or b"", None
        given = transport.get_protocol()
        if given is self:  # start_tls failed immediately
            return
        protocol = cast(asyncio.BufferedProtocol, given)
        while early:
            buffer = memoryview(protocol.get_buffer(len(early)))
            size = min(len(buffer), len(early))
            buffer[:size] = early[:size]
            protocol.buffer_updated(size)
            early = early[size:]

    def _handshake_failed(self, error: object) -> None:
        if self._server.is_open(self):  # else it has been closed, and the handshake failed because of that
            self._server.close_connection(self, CloseReason.TLS_HANDSHAKE, error)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early += data
            return
        before, in_body = self._request_count, self._receives_body
        super().data_received(data)
        if data:
            self._server.received(self)
        if self._request_count > before:
            self._stop_header_timer()
            self._unfinished, self._payload = 0, self._messages[-1][1]
        elif data and not in_body:  # a part of a header, maybe behind a request in flight
            self._unfinished += len(data)
            if self._unfinished > _MAX_HEADER_BYTES:
                self._expire(CloseReason.LARGE_HEADER)
            elif self._header_timer is None:
                self._expect_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        seconds = self._server.bounds.unread_seconds
        self._unread_timer = self._loop.call_later(seconds, self._expire, CloseReason.UNREAD_ANSWER)

    def resume_writing(self) -> None:
        self._stop_unread_timer()
        super().resume_writing()

    def abort(self) -> None:
        """Close the connection without waiting for the client."""
        self._stop_timers()
        self.force_close()
        if self._socket is not None:
            cast(asyncio.Transport, self._socket).abort()

    def _expect_header(self) -> None:
        seconds = self._server.bounds.header_seconds
        self._header_timer = self._loop.call_later(seconds, self._expire, CloseReason.SLOW_HEADER)

    def _stop_timers(self) -> None:
        self._stop_header_timer()
        self._stop_unread_timer()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _expire(self, reason: str) -> None:
        self._server.close_connection(self, reason)


class BoundedRunner(web.AppRunner):
    """Runs an application on a :class:`BoundedServer`."""

    __slots__ = ("_bounds", "_metrics", "_tls")

    def __init__(
        self,
        app: web.Application,
        bounds: ConnectionBounds,
        metrics: Metrics,
        tls: MakeContext | None = None,
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self._bounds, self._metrics, self._tls = bounds, metrics, tls

    async def _make_server(self) -> web.Server:
        """Return the server. It is a private method, because the runner offers no other way to choose the server's class."""
        server = await super()._make_server()
        server.request_factory = request_factory(self.app)
        return BoundedServer(server, self._bounds, self._metrics, self._tls)
