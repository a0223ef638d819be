"""A start that waits for its database: meanwhile the service listens, says that it lives, and refuses webhooks."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

import structlog
from aiohttp import web

from router.model import SECOND
from router.store import Store, StoreUnavailable
from router.web import BACKLOG, BoundedRunner

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 4.0
"""How long it waits between two attempts. A migration that meets a locked table holds up other replicas for two seconds in each."""
_LOG_SECONDS = 60.0


class DatabaseWait:
    """Opens the store, and waits for it if it can't be used yet. Binds the address of the service before the service listens there.

    :param listen: host and port
    :param make_runner: makes a server that refuses all but the probes
    :param on_wait: called before each pause
    """

    def __init__(
        self, listen: tuple[str, int], make_runner: Callable[[], BoundedRunner], on_wait: Callable[[], None]
    ) -> None:
        self._listen = listen
        self._make_runner = make_runner
        self._on_wait = on_wait
        self._runner: BoundedRunner | None = None
        self._sockets: list[socket.socket] = []
        self._next_line = 0.0
        """When the next line may be logged (seconds of the monotonic clock)."""

    async def open(self, open_store: Callable[[], Awaitable[Store]]) -> Store:
        """Return the open store. It listens from the first failure until :meth:`end`.

        :raises StoreUnavailable: no waiting helps
        :raises OSError: the address is taken
        """
        began = time.monotonic()
        while True:
            try:
                store = await open_store()
            except StoreUnavailable as error:
                if not error.passes:
                    raise
                await self._pause(str(error))
            else:
                break
        if self._runner is not None:
            duration = round((time.monotonic() - began) * SECOND)
            log.warning("the start goes on", database=store.location, durationMs=duration)
        return store

    async def _pause(self, reason: str) -> None:
        if self._runner is None:
            self._runner = self._make_runner()
            await self._runner.setup()
            for each in await self.take_address():
                await web.SockSite(self._runner, each.dup(), backlog=BACKLOG).start()
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LOG_SECONDS
            log.error("the start waits for the database; webhooks are refused", reason=reason)
        self._on_wait()
        await asyncio.sleep(_AGAIN_SECONDS)

    async def take_address(self) -> list[socket.socket]:
        """Bind the address, unless it is bound already, and return its sockets. They do not listen: a connection is refused, so that a
        load balancer asks another replica.

        :raises OSError: another process listens there
        """
        if not self._sockets:
            self._sockets = await _bound(*self._listen)
        return self._sockets

    async def end(self) -> None:
        """Answer no more, so that the service itself can answer."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def close(self) -> None:
        """Give the address up."""
        try:
            await self.end()
        finally:
            for each in self._sockets:
                each.close()


async def _bound(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of a host. An empty name stands for all interfaces."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # A name may have an IPv6 address on a machine without IPv6.
    usable = [each for each in dict.fromkeys(found) if _is_supported(each[0])] or found
    with ExitStack() as opened:
        sockets = []
        for family, kind, protocol, _, address in usable:
            sockets.append(each := opened.enter_context(socket.socket(family, kind, protocol)))
            # Connections of the process before may still end.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
            each.bind(address)
        opened.pop_all()
    return sockets


def _is_supported(family: int) -> bool:
    with suppress(OSError), socket.socket(family):
        return True
    return False
