"""The nginx.conf of the guide, with Debian's nginx before the real process."""

import asyncio
import hashlib
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import ROOT, Router, free_port, until
from tests.certificates import Authority
from tests.world.bodies import alert, webhook

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx-light")
NAME = "alerts.example.com"
_ACCESS = """
web:
  allowed_hosts: [alerts.example.com]
  trusted_proxy: {addresses: [127.0.0.1]}
users:
  - {name: alice, role: admin, tokens: ["sha256:%s"]}
sources:
  - {name: prod, bearer_token: token-of-prod}
"""
TOKEN = "alert_router_of_the_nginx_test"


@pytest.fixture
async def behind(folder: Path, providers: Providers) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """Start the router and nginx. :returns: the address of nginx, and a context that trusts its certificate"""
    access = _ACCESS % hashlib.sha256(TOKEN.encode()).hexdigest()
    router = Router(folder, providers.routes + access)
    authority = Authority(folder, "authority")
    pair = authority.issue("server")
    port = free_port()
    site = (ROOT / "docs/howto/nginx.conf").read_text()
    for old, new in (
        ("127.0.0.1:9099", f"127.0.0.1:{router.port}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        (f"/etc/ssl/{NAME}.pem", str(pair.certificate)),
        (f"/etc/ssl/{NAME}.key", str(pair.key)),
    ):
        assert old in site
        site = site.replace(old, new)
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/nginx-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{site}\n}}\n"
    )
    assert NGINX is not None
    await router.start()
    nginx = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-c", str(config), "-e", str(folder / "nginx.log")
    )
    context = ssl.create_default_context(cafile=authority.file)
    url = f"https://127.0.0.1:{port}"
    try:
        await until(lambda: ready(url, context, nginx, folder), "nginx answers")
        yield url, context
    finally:
        if nginx.returncode is None:
            nginx.terminate()
        await nginx.wait()
        await router.stop()


async def ready(url: str, context: ssl.SSLContext, nginx: asyncio.subprocess.Process, folder: Path) -> bool:
    assert nginx.returncode is None, (folder / "nginx.log").read_text()
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz", ssl=context) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_pages_webhooks_and_events_pass_through_nginx(behind: tuple[str, ssl.SSLContext]) -> None:
    url, context = behind
    host, signed_in = {"Host": NAME}, {"Host": NAME, "Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(f"{url}/now", headers=signed_in) as answer:
            assert answer.status == 200
        async with session.get(f"{url}/now", headers=host) as answer:
            assert answer.status == 401
        async with session.get(f"{url}/now", headers={**signed_in, "Host": "other.example.com"}) as answer:
            assert answer.status == 421
        async with session.get(f"{url}/now", headers={**host, "X-Forwarded-User": "alice"}) as answer:
            assert answer.status == 401  # a client names nobody
        async with session.get(f"{url}/events", headers=signed_in) as events:
            assert events.status == 200
            assert events.content_type == "text/event-stream"
            body = webhook(alert(labels={"alertname": "Down", "severity": "critical"}))
            posted = {**host, "Authorization": "Bearer token-of-prod"}
            async with session.post(f"{url}/webhook", json=body, headers=posted) as answer:
                assert answer.status == 200
            assert await events.content.readline() != b""  # before the stream ends, so it is not buffered
        async with session.post(
            f"{url}/api/v1/configuration/reload",
            headers={**signed_in, "Origin": f"https://{NAME}"},
        ) as answer:
            assert answer.status == 200
        async with session.post(
            f"{url}/api/v1/configuration/reload", headers={**signed_in, "Origin": "https://evil.example.com"}
        ) as answer:
            assert answer.status == 403


def test_the_guide_and_the_configuration_agree() -> None:
    page, config = (ROOT / f"docs/howto/nginx.{kind}" for kind in ("md", "conf"))
    for header in ("X-Forwarded-For", "X-Forwarded-User", "proxy_buffering off"):
        assert header in page.read_text()
        assert header in config.read_text()
    assert re.findall(r"server_name (\S+);", config.read_text()) == [NAME]
