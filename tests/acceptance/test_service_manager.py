"""What the real process tells its manager, over the socket of systemd's protocol; the unit for systemd."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.acceptance.processes import Router
from tests.unit.cli.commands import GOOD


class Manager:
    """The socket on which a manager receives states."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address)

    async def next(self) -> str:
        """Return the next state that is no sign of life."""
        while True:
            state = await self.next_of_all()
            if state != "WATCHDOG=1":
                return state

    async def next_of_all(self) -> str:
        return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
async def test_the_manager_hears_of_start_reload_and_stop(folder: Path, is_abstract: bool) -> None:
    name = f"alert-router-{folder.name}-{id(folder)}" if is_abstract else f"{folder}/notify"
    manager = Manager(f"\0{name}" if is_abstract else name)
    address = f"@{name}" if is_abstract else name
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
    router = Router(folder, GOOD, environ=environ)
    try:
        await router.spawn()
        assert await manager.next() == "READY=1"
        assert await router.post(b"{}") == 202
        router.hang_up(GOOD)
        state, time = (await manager.next()).splitlines()
        assert state == "RELOADING=1"
        assert time.removeprefix("MONOTONIC_USEC=").isdecimal()
        assert await manager.next() == "READY=1"
        router.hang_up("receivers: 5")
        assert (await manager.next()).startswith("RELOADING=1")
        assert await manager.next() == "READY=1"  # the last good rules stay in force
        while await manager.next_of_all() != "WATCHDOG=1":
            pass
        router.terminate()
        assert await manager.next() == "STOPPING=1"
    finally:
        assert await router.stop() == 0
        manager.close()


async def test_a_router_whose_manager_is_gone_serves(folder: Path) -> None:
    environ = {"NOTIFY_SOCKET": f"{folder}/nobody", "WATCHDOG_USEC": "1000"}
    router = Router(folder, GOOD, environ=environ)
    try:
        await router.start()
        router.hang_up(GOOD)
        assert await router.post(b"{}") == 202
    finally:
        assert await router.stop() == 0
