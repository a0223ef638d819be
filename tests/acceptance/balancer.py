"""A small TCP load balancer, which leaves out replicas that are not ready, and cuts their connections."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Self

from tests.acceptance.replicas import Replica
from tests.listening import address, hang_up

_SECONDS_BETWEEN_CHECKS = 0.5


class Balancer:
    """``async with Balancer(replicas) as balancer: … balancer.url``"""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.url = ""
        self._replicas = replicas
        self._turns = count()
        self._open: dict[str, set[asyncio.StreamWriter]] = {each.name: set() for each in replicas}
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://{address(self._server)}"
        self._checking = [asyncio.create_task(self._check(each)) for each in self._replicas]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._checking, *self._serving):
            task.cancel()
        await asyncio.gather(*self._checking, *self._serving, return_exceptions=True)
        await hang_up(self._server)

    async def _check(self, replica: Replica) -> None:
        while True:
            replica.is_out = not await replica.is_ready()
            if replica.is_out:
                for each in self._open[replica.name]:
                    each.transport.abort()
            await asyncio.sleep(_SECONDS_BETWEEN_CHECKS)  # real time: between two checks

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        with suppress(ConnectionError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(self._turns)
        for number in range(len(self._replicas)):
            replica = self._replicas[(turn + number) % len(self._replicas)]
            if replica.is_out:
                continue
            try:
                answers, requests = await asyncio.open_connection("127.0.0.1", replica.port)
            except OSError:
                continue
            self._open[replica.name].add(requests)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_forward(reader, requests))
                    tasks.create_task(_forward(answers, writer))
            finally:
                self._open[replica.name].discard(requests)
                requests.transport.abort()
            return


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until one side ends; then end the other one."""
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.transport.abort()
