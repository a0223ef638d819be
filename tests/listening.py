"""How the fakes listen: one that ends leaves no connection open.

A server of asyncio or aiohttp that is closed knows nothing of a connection that it has just accepted, or that is in its
TLS handshake. Nobody closes such a connection. The garbage collector finds it later, and another test fails for it.
"""

import asyncio
from asyncio.selector_events import _SelectorTransport  # type: ignore[attr-defined]  # (typeshed leaves it out)
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakSet

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Site:
    """An application of aiohttp on a free port. ``address``: its ``host:port``"""

    address: str
    _runner: web.AppRunner
    _server: asyncio.Server

    @classmethod
    async def open(cls, app: web.Application) -> Self:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        assert runner.server is not None
        server = await asyncio.get_running_loop().create_server(runner.server, "127.0.0.1", 0)
        return cls(address(server), runner, server)

    async def close(self) -> None:
        """Handlers that are under way may come to their end."""
        await stop_accepting(self._server)
        await self._runner.cleanup()
        await hang_up(self._server)


def address(server: asyncio.Server) -> str:
    """Its ``host:port``."""
    host, port = server.sockets[0].getsockname()
    return f"{host}:{port}"


async def stop_accepting(server: asyncio.Server) -> None:
    """Close a server, but only when the last connection that it accepted has its transport: asyncio loses it else."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    server.close()


async def hang_up(server: asyncio.Server) -> None:
    """Accept no more, and end every connection that there is."""
    await stop_accepting(server)
    loop = asyncio.get_running_loop()
    while left := [each for each in still_open(loop) if each._server is server]:
        for each in left:
            each.abort()
        await asyncio.sleep(0)


def still_open(loop: asyncio.AbstractEventLoop) -> list[Any]:
    """The transports of a loop whose sockets are not closed."""
    return [each for each in _transports if each._loop is loop and each._sock is not None]


def _noted(transport: Any, *args: Any, **options: Any) -> None:
    _transports.add(transport)
    _begin(transport, *args, **options)


# All that there are, those included that asyncio itself has lost.
_transports: WeakSet[Any] = WeakSet()
_begin = _SelectorTransport.__init__
_SelectorTransport.__init__ = _noted
