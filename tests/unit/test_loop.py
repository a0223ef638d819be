"""The loop that the service runs on: its connections are those of asyncio."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from router.loop import new_loop

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, new_loop]
both_loops = pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "as served"])


async def _hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    await writer.drain()
    writer.close()


async def _connected(host: str, **options: Any) -> tuple[bytes, asyncio.AbstractEventLoop]:
    server = await asyncio.start_server(_hello, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(host, port, **options)
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    return line, asyncio.get_running_loop()


@both_loops
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(
    "options", [{}, {"family": socket.AF_INET}, {"local_addr": ("127.0.0.1", 0)}], ids=str
)
def test_a_connection_goes_to_a_name_or_an_address(
    loop: Callable[[], asyncio.AbstractEventLoop], host: str, options: dict[str, Any]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(_connected(host, **options))[0] == b"hello\n"


@both_loops
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_connection_to_a_closed_port_is_refused(
    loop: Callable[[], asyncio.AbstractEventLoop], host: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with (
            asyncio.Runner(loop_factory=loop) as runner,
            pytest.raises(OSError, match=r"(?i)refused|connect"),
        ):
            runner.run(asyncio.open_connection(host, taken.getsockname()[1]))


@both_loops
def test_an_unknown_host_name_is_an_error_of_name_resolution(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(socket.gaierror):
        runner.run(asyncio.open_connection("nobody.example", 80))


@both_loops
def test_a_server_without_tls_is_a_tls_error(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(ssl.SSLError):
        runner.run(_connected("localhost", ssl=ssl.create_default_context()))


def test_the_service_runs_on_uvloop_where_it_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = new_loop()
    assert isinstance(loop, uvloop.Loop)
    loop.close()
