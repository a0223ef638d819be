"""HTTPS: the files are read again when they change, and no client and no broken file stops the service."""

import asyncio
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from router.loop import new_loop
from router.metrics import Metrics
from router.web import BoundedRunner, Certificates, ConnectionBounds, TlsError, TlsFiles
from router.web.tls import LOOK_EVERY, make_context
from tests.certificates import Authority, Pair, encrypt
from tests.clock import ManualClock
from tests.unit.web.harness import WebHarness
from tests.unit.web.serving import GET, Serving, serving
from tests.waiting import seconds_pass, until


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "old"), Authority(folder, "new")


@pytest.fixture
def old(authorities: tuple[Authority, Authority]) -> Authority:
    return authorities[0]


@pytest.fixture
def new(authorities: tuple[Authority, Authority]) -> Authority:
    return authorities[1]


@pytest.fixture
def files(tmp_path: Path, old: Authority) -> TlsFiles:
    pair = old.issue("server")
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    replace(files, pair)
    return files


def replace(files: TlsFiles, pair: Pair) -> None:
    shutil.copy(pair.certificate, files.certificate)
    shutil.copy(pair.key, files.key)


def client(trusts: Authority, own: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusts.file)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


class Watched:
    """The certificates of a server, on a clock that the test moves."""

    def __init__(self, server: Serving, certificates: Certificates, clock: ManualClock) -> None:
        self.server, self.certificates, self.clock = server, certificates, clock

    async def look(self) -> None:
        """Let the watch look at the files."""
        self.clock.advance(LOOK_EVERY)
        await until(self._is_at_rest, "the files were looked at")

    async def _is_at_rest(self) -> bool:
        return self.clock.at_rest

    async def status(self, context: ssl.SSLContext) -> int:
        talk = await self.server.talk(ssl=context)
        status = await talk.status()
        talk.writer.transport.abort()
        return status

    def is_good(self) -> float | None:
        name = "alert_router_tls_last_load_successful"
        return self.server.harness.metrics.registry.get_sample_value(name)


@asynccontextmanager
async def encrypted(harness: WebHarness, files: TlsFiles, **bounds: Any) -> AsyncIterator[Watched]:
    clock = ManualClock(0)
    certificates = Certificates(files, clock, harness.metrics)
    await certificates.load()
    async with serving(harness, ConnectionBounds(**bounds), certificates.context) as server:
        watch = asyncio.create_task(certificates.watch())
        watched = Watched(server, certificates, clock)
        await until(lambda: _is_asleep(clock, watch), "the watch waits")
        yield watched
        watch.cancel()
        certificates.close()


async def _is_asleep(clock: ManualClock, task: asyncio.Task[None]) -> bool:
    return clock.is_asleep(task)


async def test_requests_are_answered_over_https(harness: WebHarness, files: TlsFiles, old: Authority) -> None:
    async with encrypted(harness, files) as it:
        talk = await it.server.talk(ssl=client(old))
        assert [await talk.status(), await talk.status()] == [200, 200]
        found = talk.writer.get_extra_info("ssl_object")
        assert found.version() in {"TLSv1.2", "TLSv1.3"}
        talk.writer.transport.abort()


async def test_a_large_body_arrives_over_https(harness: WebHarness, files: TlsFiles, old: Authority) -> None:
    body = b'{"alerts": [], "x": "' + b"y" * 500_000 + b'"}'
    head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with encrypted(harness, files) as it:
        talk = await it.server.talk(ssl=client(old))
        assert [await talk.status(head + body), await talk.status()] == [200, 200]
        talk.writer.transport.abort()


async def test_new_files_are_used_without_a_restart(
    harness: WebHarness, files: TlsFiles, old: Authority, new: Authority
) -> None:
    async with encrypted(harness, files) as it:
        before = await it.server.talk(ssl=client(old))
        assert await before.status() == 200
        replace(files, new.issue("server"))
        await it.look()
        assert await it.status(client(new)) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await it.server.talk(ssl=client(old))
        assert await before.status() == 200
        before.writer.transport.abort()


async def test_broken_new_files_leave_the_old_ones_in_force(
    harness: WebHarness, files: TlsFiles, old: Authority, new: Authority
) -> None:
    async with encrypted(harness, files) as it:
        shutil.copy(new.issue("server").certificate, files.certificate)  # the key is not replaced yet
        with capture_logs() as logs:
            await it.look()
            await it.look()  # says it only once
        assert [each["event"] for each in logs] == [
            "the TLS files can't be used; the ones before stay in force"
        ]
        assert "does not belong to the certificate" in logs[0]["error"]
        assert await it.status(client(old)) == 200
        assert it.is_good() == 0
        replace(files, new.issue("server"))
        await it.look()
        assert await it.status(client(new)) == 200
        assert it.is_good() == 1


async def test_a_client_needs_a_certificate_of_the_authority(
    harness: WebHarness, files: TlsFiles, old: Authority, new: Authority, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    shutil.copy(old.file, ca)
    async with encrypted(harness, TlsFiles(files.certificate, files.key, ca)) as it:
        mine, other = client(old, old.issue("client")), client(old, new.issue("client"))
        assert await it.status(mine) == 200
        for context in (client(old), other):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await it.status(context)
        shutil.copy(new.file, ca)
        await it.look()
        assert await it.status(other) == 200
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await it.status(mine)
        assert it.server.closed_by("tls_handshake") == 3


async def test_plain_http_and_old_tls_are_refused(
    harness: WebHarness, files: TlsFiles, old: Authority
) -> None:
    async with encrypted(harness, files) as it:
        plain = await it.server.talk()
        plain.writer.write(GET)
        assert await plain.closed()
        assert it.server.closed_by("tls_handshake") == 1
        assert it.certificates.context().minimum_version == ssl.TLSVersion.TLSv1_2
        assert await it.status(client(old)) == 200


async def test_a_handshake_has_the_time_of_a_header(
    harness: WebHarness, files: TlsFiles, old: Authority
) -> None:
    async with encrypted(harness, files) as it:
        silent = await it.server.talk()
        await until(lambda: _equal(it.server.open_connections(), 1), "the connection is accepted")
        seconds_pass(11)
        assert await silent.closed()
        assert it.server.closed_by("slow_header") + it.server.closed_by("tls_handshake") == 1
        await until(lambda: _equal(it.server.open_connections(), 0), "it is not counted any more")
        assert await it.status(client(old)) == 200


async def test_connections_without_a_handshake_give_way(
    harness: WebHarness, files: TlsFiles, old: Authority
) -> None:
    async with encrypted(harness, files, total=10, per_address=3) as it:
        silent = [await it.server.talk() for _ in range(3)]
        await until(lambda: _equal(it.server.open_connections(), 3), "the connections are accepted")
        assert await it.status(client(old)) == 200
        assert await silent[0].closed()
        assert it.server.closed_by("gave_way") == 1


def test_a_handshake_that_begins_early_loses_no_bytes(files: TlsFiles, old: Authority) -> None:
    """uvloop reads the first bytes before the handshake begins."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def ask() -> None:
        app = web.Application()
        app.add_routes([web.get("/healthz", hello)])
        context = make_context(files)
        runner = BoundedRunner(app, ConnectionBounds(), Metrics(), lambda: context)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/healthz"
        connector = aiohttp.TCPConnector(ssl=client(old), limit=0, force_close=True)

        async def one(session: aiohttp.ClientSession) -> int:
            async with session.get(url) as answer:
                return answer.status

        async with aiohttp.ClientSession(connector=connector) as session:
            assert await asyncio.gather(*(one(session) for _ in range(200))) == [200] * 200
        await runner.cleanup()

    with asyncio.Runner(loop_factory=new_loop) as loop:
        loop.run(ask())


async def _equal(left: float | None, right: float) -> bool:
    return left == right


@pytest.mark.parametrize("wrong", ["certificate", "key", "client_ca"])
@pytest.mark.parametrize("how", ["missing", "garbage", "folder"])
async def test_a_file_that_cannot_be_used_is_named(
    files: TlsFiles, old: Authority, tmp_path: Path, wrong: str, how: str
) -> None:
    broken = tmp_path / "broken.pem"
    if how == "garbage":
        broken.write_text("-----BEGIN CERTIFICATE-----\nxxxx\n-----END CERTIFICATE-----\n")
    elif how == "folder":
        broken.mkdir()
    given = {"certificate": files.certificate, "key": files.key, "client_ca": old.file, wrong: broken}
    with pytest.raises(TlsError, match=f"^{re.escape(str(broken))}: .*PEM"):
        await loaded(TlsFiles(**given))


async def test_a_key_of_another_certificate_is_named(files: TlsFiles, new: Authority) -> None:
    other = new.issue("other")
    with pytest.raises(TlsError, match=f"^{re.escape(str(other.key))}: .*does not belong to the certificate"):
        await loaded(TlsFiles(files.certificate, other.key))


async def test_an_encrypted_key_is_refused_without_a_question(files: TlsFiles) -> None:
    encrypted_key = encrypt(files.key)
    with pytest.raises(TlsError, match=f"^{re.escape(str(encrypted_key))}: .*without a password"):
        await loaded(TlsFiles(files.certificate, encrypted_key))


async def loaded(files: TlsFiles) -> None:
    certificates = Certificates(files, ManualClock(0), Metrics())
    try:
        await certificates.load()
    finally:
        certificates.close()
