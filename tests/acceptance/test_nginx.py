"""The nginx.conf of the guide, with Debian's nginx before the real process."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import ROOT, Router, running
from tests.acceptance.reverse_proxies import NAME, Proxy, needs_nginx, nginx
from tests.world.bodies import alert, webhook

pytestmark = needs_nginx
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
async def behind(folder: Path, providers: Providers) -> AsyncIterator[Proxy]:
    """Start the router and nginx."""
    access = _ACCESS % hashlib.sha256(TOKEN.encode()).hexdigest()
    async with (
        running(Router(folder, providers.routes + access)) as router,
        nginx(folder, [router.port]) as proxy,
    ):
        yield proxy


async def test_pages_webhooks_and_events_pass_through_nginx(behind: Proxy) -> None:
    url, context = behind.url, behind.context
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
