"""An HTTP load generator on asyncio's protocols; a request costs a few microseconds."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

clock = time.perf_counter


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def message(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Remove the message at the start of the buffer. :returns: its head and body; None: it is incomplete"""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end])
    found = _LENGTH.search(head)
    whole = end + 4 + (int(found[1]) if found else 0)
    if len(buffer) < whole:
        return None
    body = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    return head, body


class _Connection(asyncio.Protocol):
    """A keep-alive connection with one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.key: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not of this class

    def send(self, key: int, request: bytes) -> None:
        assert self._transport is not None
        self.key = key
        self._load.sent[key] = clock()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = message(self._buffer)
        if answer is not None:
            key, self.key = self.key, None
            assert key is not None
            self._load.take(self, key, int(answer[0][9:12]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        self._load.lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Load:
    """Numbered requests, each sent once, with the times of sending and of the answer 200."""

    def __init__(self, port: int, requests: Iterable[tuple[int, bytes]]) -> None:
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self.refused: Counter[int] = Counter()
        """How many got another status, by status; 0: the connection ended without an answer."""
        self.seconds = 0.0
        self.busy = 0.0
        """The fraction of the time that this process computed. Near 1, the run measures the load generator."""
        self._port = port
        self._requests: Iterator[tuple[int, bytes]] = iter(requests)
        self._open: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._back_to_back = False
        self._finished = asyncio.Event()

    async def closed(self, connections: int, limit: float) -> None:
        """Send the next request on each connection when the last one is answered, until none is left or the limit passes."""
        self._back_to_back = True
        first = [await self._connect() for _ in range(connections)]
        with self._measured():
            for connection in first:
                self._next(connection)
            await self._end(limit)

    async def paced(self, a_second: float, limit: float, patience: float) -> None:
        """Send requests at fixed times, whether earlier ones are answered or not. :param patience: seconds for the last one"""
        with self._measured():
            started = clock()
            for number, (key, request) in enumerate(self._requests):
                due = started + number / a_second
                if due - started > limit:
                    break
                await asyncio.sleep(max(0.0, due - clock()))
                connection = self._idle.pop() if self._idle else await self._connect()
                connection.send(key, request)
            self._requests = iter(())
            # No request is left: each answer from here on ends its connection.
            self._back_to_back = True
            for connection in self._idle:
                connection.close()
            await self._end(patience)

    def take(self, connection: _Connection, key: int, status: int) -> None:
        if 200 <= status < 300:
            self.answered[key] = clock()
        else:
            self.refused[status] += 1
        if self._back_to_back:
            self._next(connection)
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        if connection.key is not None and not self._finished.is_set():
            self.refused[0] += 1
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._open and self._back_to_back:
            self._finished.set()

    @property
    def rate(self) -> float:
        return len(self.answered) / self.seconds

    def latencies(self) -> list[float]:
        return [at - self.sent[key] for key, at in self.answered.items()]

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        self._open.add(connection)
        return connection

    def _next(self, connection: _Connection) -> None:
        following = next(self._requests, None)
        if following is None:
            connection.close()
        else:
            connection.send(*following)

    async def _end(self, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await self._finished.wait()
        except TimeoutError:
            self._requests = iter(())
            self._finished.set()
        for connection in list(self._open):
            connection.close()

    @contextmanager
    def _measured(self) -> Iterator[None]:
        started, computed = clock(), time.process_time()
        yield
        self.busy = (time.process_time() - computed) / (clock() - started)
        self.seconds = max(self.answered.values(), default=clock()) - started
