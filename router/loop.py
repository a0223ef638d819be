"""The event loop that the service runs on: uvloop's where it is installed, else asyncio's own."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from aiohappyeyeballs import start_connection

try:
    import uvloop
except ImportError:  # there is no wheel for this platform
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:

    class Loop(uvloop.Loop):
        """Looks up names in the loop's default executor, as asyncio does.

        libuv has four threads for that in the whole process: four names whose server does not answer would delay all
        other names for 20 s and more.
        """

        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> list[Any]:
            if _is_address(
                host
            ):  # an address needs no name server; each connection looks its address up again
                return socket.getaddrinfo(host, port, **options)
            return await self.run_in_executor(None, lambda: socket.getaddrinfo(host, port, **options))

        async def getnameinfo(self, *args: Any) -> tuple[str, str]:
            return await self.run_in_executor(None, lambda: socket.getnameinfo(*args))

        async def create_connection(
            self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
        ) -> tuple[Any, Any]:
            if host is None:
                return await super().create_connection(protocol_factory, **options)
            family = {name: options.pop(name, 0) for name in ("family", "proto", "flags")}
            infos = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM, **family)
            local = options.pop("local_addr", None)
            local_infos = await self.getaddrinfo(*local, type=socket.SOCK_STREAM, **family) if local else None
            if options.get("ssl") and not options.get("server_hostname"):
                options["server_hostname"] = host
            sock = await start_connection(infos, local_addr_infos=local_infos)
            try:
                return await super().create_connection(protocol_factory, sock=sock, **options)
            except BaseException:
                sock.close()
                raise

    new_loop = Loop


def _is_address(host: Any) -> bool:
    try:
        ipaddress.ip_address(host if isinstance(host, str) else "")
    except ValueError:
        return False
    return True


__all__ = ["new_loop"]
