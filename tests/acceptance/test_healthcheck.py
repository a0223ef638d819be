"""``alert-router healthcheck`` against the real process: it finds the service by the variables of the service."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from tests.acceptance.processes import ROOT, free_port
from tests.certificates import Authority
from tests.unit.cli.commands import GOOD, run


async def _check(*arguments: str, **environ: str) -> Result:
    return await asyncio.to_thread(run, "healthcheck", *arguments, **environ)


@asynccontextmanager
async def _service(folder: Path, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """A router with these variables. It serves when this returns."""
    (folder / "routes.yaml").write_text(GOOD)
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(f"{folder}/notify")
    notices.setblocking(False)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "serve", "--config", f"{folder}/routes.yaml", "--database", f"sqlite:///{folder}/r.db",
        "--open", cwd=ROOT, env={**os.environ, **environ, "NOTIFY_SOCKET": f"{folder}/notify"}, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert await asyncio.get_running_loop().sock_recv(notices, 100) == b"READY=1"
        yield
    finally:
        notices.close()
        process.terminate()
        assert await process.wait() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[::1]", ""])
async def test_it_follows_the_address_of_the_service(tmp_path: Path, host: str) -> None:
    environ = {"ALERT_ROUTER_LISTEN": f"{host}:{free_port()}" if host else str(free_port())}
    before = await _check(**environ)
    assert before.exit_code == 1
    assert "does not answer: Connection refused" in before.stderr
    async with _service(tmp_path, environ):
        checked = await _check(**environ)
        assert (checked.exit_code, checked.stdout) == (0, "alive\n")
        checked = await _check("--ready", **environ)
        assert checked.exit_code == 0
        assert checked.stdout.startswith("ready")


@pytest.mark.parametrize("asks_for_clients", [False, True])
async def test_it_follows_tls_whoever_issued_it(tmp_path: Path, asks_for_clients: bool) -> None:
    authority = Authority(tmp_path, "own")
    pair, mine = authority.issue("server"), authority.issue("client")
    environ = {
        "ALERT_ROUTER_LISTEN": f"0.0.0.0:{free_port()}", "ALERT_ROUTER_TLS_CERT": str(pair.certificate),
        "ALERT_ROUTER_TLS_KEY": str(pair.key),
    }  # fmt: skip
    if asks_for_clients:
        environ["ALERT_ROUTER_TLS_CLIENT_CA"] = str(authority.file)
    both = tmp_path / "both.pem"
    both.write_bytes(mine.certificate.read_bytes() + mine.key.read_bytes())
    async with _service(tmp_path, environ):
        checked = await _check(**environ)
        words = "alive: its TLS answers\n" if asks_for_clients else "alive\n"
        assert (checked.exit_code, checked.stdout) == (0, words)
        checked = await _check("--client-cert", str(both), **environ)
        assert (checked.exit_code, checked.stdout) == (0, "alive\n")
        plain = await _check(ALERT_ROUTER_LISTEN=environ["ALERT_ROUTER_LISTEN"])
        assert plain.exit_code == 1


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """A server that answers every request with these bytes. :returns: its address"""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nnot ready", "answers 503: not ready"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer: "),
        (b"", "does not answer: "),
    ],
    ids=["503", "another protocol", "nothing"],
)
def test_every_other_answer_is_a_failure(answer: bytes, words: str) -> None:
    with _answering(answer) as address:
        checked = run("healthcheck", "--listen", address)
    assert checked.exit_code == 1
    assert checked.stderr.startswith(f"{address} {words}")
    assert checked.stderr.count("\n") == 1


def test_a_service_that_never_answers_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        checked = run("healthcheck", "--listen", address, "--timeout", "0.1")
    assert (checked.exit_code, checked.stderr) == (1, f"{address} does not answer: timed out\n")


def _anonymous(_: Path) -> tuple[str, ...]:
    return "--tls-cert", "x", "--tls-client-ca", "x", "--ready"


def _no_certificate(folder: Path) -> tuple[str, ...]:
    return "--tls-cert", "x", "--client-cert", f"{folder}/none.pem"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda _: ("--listen", "127.0.0.1:0"), "--listen has port 0, so the port of the service is not known; give it"),
        (_anonymous, "Error: --ready needs --client-cert, because the service asks for one"),
        (_no_certificate, "--client-cert can't be used: No such file or directory"),
    ],
    ids=["port 0", "anonymous", "no certificate"],
)  # fmt: skip
def test_options_that_can_not_be_used_are_named(
    tmp_path: Path, arguments: Callable[[Path], tuple[str, ...]], words: str
) -> None:
    checked = run("healthcheck", *arguments(tmp_path))
    assert checked.exit_code == (2 if words.startswith("Error") else 1)
    assert checked.stderr.endswith(f"{words}\n")
