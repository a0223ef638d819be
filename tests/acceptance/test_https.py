"""The real process over HTTPS."""

import asyncio
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import ROOT, Router, until
from tests.certificates import Authority
from tests.world.bodies import alert, webhook


@pytest.mark.parametrize("installed", [True, False], ids=["with uvloop", "without uvloop"])
async def test_the_service_serves_https_with_new_files(
    folder: Path, providers: Providers, installed: bool
) -> None:
    hidden = folder / "hidden"
    hidden.mkdir()
    if not installed:
        (hidden / "uvloop.py").write_text("raise ImportError")
    old, new = Authority(folder, "old"), Authority(folder, "new")
    pair, mine = old.issue("server"), old.issue("client")
    environ = {
        "PYTHONPATH": str(hidden), "ALERT_ROUTER_TLS_CERT": str(pair.certificate), "ALERT_ROUTER_TLS_KEY": str(pair.key),
        "ALERT_ROUTER_TLS_CLIENT_CA": str(old.file),
    }  # fmt: skip
    router = Router(folder, providers.routes, environ=environ)
    await router.spawn()
    url = f"https://127.0.0.1:{router.port}"
    trusted = ssl.create_default_context(cafile=old.file)
    trusted.load_cert_chain(mine.certificate, mine.key)

    async def answers(context: ssl.SSLContext) -> bool:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{url}/healthz", ssl=context) as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        await until(lambda: answers(trusted), "the router starts")
        body = webhook(alert(labels={"alertname": "Down", "severity": "critical", "x": "y" * 200_000}))
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(f"{url}/webhook", json=body, ssl=trusted) as answer:
                    assert answer.status == 200
        assert not await answers(ssl.create_default_context(cafile=old.file))
        assert f'"address": "{url}"' in router.log
        other = new.issue("server")
        pair.certificate.write_bytes(other.certificate.read_bytes())
        pair.key.write_bytes(other.key.read_bytes())
        trusted.load_verify_locations(new.file)
        renewed = ssl.create_default_context(cafile=new.file)
        renewed.load_cert_chain(mine.certificate, mine.key)
        await until(lambda: answers(renewed), "the new certificate is used")
    finally:
        assert await router.stop() == 0


async def test_a_start_with_a_wrong_file_names_it(folder: Path, providers: Providers) -> None:
    pair = Authority(folder, "old").issue("server")
    pair.key.write_text("no key")
    (folder / "routes.yaml").write_text(providers.routes)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "serve", "--config", str(folder / "routes.yaml"), "--listen", "127.0.0.1:0",
        "--database", f"sqlite:///{folder}/router.db", "--tls-cert", str(pair.certificate), "--tls-key", str(pair.key),
        cwd=ROOT, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, shown = await process.communicate()
    assert process.returncode == 1
    assert f"TLS can't be used: {pair.key}: no private key that can be used" in shown.decode()
