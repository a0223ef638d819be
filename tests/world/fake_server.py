"""The base of every fake provider over HTTP: it listens, records each call, fails on demand, and signals each step.

A subclass says what its vendor accepts, refuses and keeps.
"""

import asyncio
import contextlib
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from tests.listening import Site
from tests.waiting import Changes

Found_contra = TypeVar("Found_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call. ``Fault()``: nothing.

    ``accept``: the message is accepted before the fault. ``hang``: nothing happens until the test releases the call.
    ``close``: the connection ends without an answer.
    """

    status: int | None = None
    """None: the call is answered as usual."""
    body: str = ""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    close: bool = False
    accept: bool = False
    method: str | None = None
    """The fault waits for a call of this method; None: any call."""


HANG = Fault(hang=True, close=True)
CLOSE = Fault(close=True)
LOST_ANSWER = Fault(close=True, accept=True)


def http(status: int, body: str = "", content_type: str = "text/html", **headers: str) -> Fault:
    """Return a fault that answers this. :param headers: their names with underscores"""
    return Fault(status, body, content_type, {name.replace("_", "-"): headers[name] for name in headers})


class Wanted(Protocol[Found_contra]):
    def met_by(self, found: Found_contra, /) -> bool: ...


def is_web_address(value: Any) -> bool:
    """Return whether a browser opens this address: http(s), with a host, and a port that there is."""
    if not isinstance(value, str) or re.search(r"[\s\\]", value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port above 65,535
        return False


def differences(wanted: Iterable[Wanted[Any]], found: Iterable[Any]) -> list[str]:
    """Return what is missing and what is unexpected. Each found thing meets at most one expectation."""
    left, missing = list(found), []
    for want in wanted:
        match = next((each for each in left if want.met_by(each)), None)
        missing += [f"missing: {want}"] if match is None else []
        left = [each for each in left if each is not match]
    return [*missing, *(f"unexpected: {each}" for each in left)]


class FakeServer(ABC):
    """``async with FakeVendor() as vendor: … vendor.url``"""

    routes: ClassVar[tuple[tuple[str, str], ...]]
    """Method and path of each route."""
    path: ClassVar[str] = ""
    """The path of its URL."""
    max_body: ClassVar[int] = 2**26

    def __init__(self) -> None:
        self.url = ""
        self.on_step: Callable[[str], None] = lambda _: None
        """Called at each step of each call: ``received``, ``taken`` (accepted), ``answered``."""
        self._faults: deque[Fault] = deque()
        self._released = asyncio.Event()
        self._changes = Changes()
        self._site: Site | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=self.max_body)
        for method, path in self.routes:
            app.router.add_route(method, path, self._serve)
        self._site = await Site.open(app)
        self.url = f"http://{self._site.address}{self.path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        assert self._site is not None
        await self._site.close()

    def fail(self, *faults: Fault) -> None:
        """Make the next calls go wrong, one fault for each call."""
        self._faults.extend(faults)

    def recover(self) -> None:
        """Forget the faults that have not happened, and release the calls that hang."""
        self._faults.clear()
        self.release()

    def release(self) -> None:
        """Let the calls that hang go on."""
        self._released.set()
        self._released = asyncio.Event()

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return when the condition holds, or has held meanwhile; it is checked after every call."""
        await self._changes.until(ready, lambda: f"{type(self).__name__} has:\n{self._shown()}")

    @abstractmethod
    def _shown(self) -> str:
        """Return what the fake has received, for the message of a wait that fails."""

    @abstractmethod
    async def _read(self, request: web.Request) -> tuple[str, Any]:
        """Return a call's method and body."""

    @abstractmethod
    def _take(self, request: web.Request, body: Any) -> web.Response:
        """Do what the call asks for, or refuse it."""

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:  # noqa: B027  (a fake may keep no record)
        """Record a call before it is answered."""

    def _step(self, method: str, body: Any, what: str) -> str:
        """Return the argument of ``on_step``."""
        return what

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            method, body = await self._read(request)
            answer = await self._answer(method, request, body)
            self._changes.look()
            return await self._send(answer, request, self._step(method, body, "answered"))
        finally:
            self._changes.notify()

    async def _answer(self, method: str, request: web.Request, body: Any) -> web.Response:
        fault = self._next_fault(method)
        self._record(method, request, body, fault)
        self.on_step(self._step(method, body, "received"))
        if fault.hang:
            released = self._released
            self._changes.notify()
            await released.wait()
        if fault.accept:
            self._take(request, body)
        if fault.close:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if fault.status is None:
            return self._take(request, body)
        headers = {"Content-Type": fault.content_type, **fault.headers}
        return web.Response(status=fault.status, text=fault.body, headers=headers)

    async def _send(self, answer: web.Response, request: web.Request, step: str) -> web.StreamResponse:
        if request.transport is None or request.transport.is_closing():
            return answer
        with contextlib.suppress(ConnectionError):  # the other side is gone
            await answer.prepare(request)
            await answer.write_eof()
            self.on_step(step)
        return answer

    def _next_fault(self, method: str) -> Fault:
        for fault in self._faults:
            if fault.method in {None, method}:
                self._faults.remove(fault)
                return fault
        return Fault()
