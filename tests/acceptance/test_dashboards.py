"""Every query of the dashboards finds something in a real Prometheus that scrapes a router in trouble."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.acceptance.conftest import Providers
from tests.acceptance.monitoring_stack import MonitoringStack, needs_monitoring
from tests.acceptance.processes import ROOT, Router, free_port
from tests.acceptance.test_blackbox import SOURCE, TOKENS, scraping_user
from tests.acceptance.troubled import alert, troubled_service, webhook
from tests.certificates import Authority
from tests.deployed import DASHBOARDS, load_dashboard, queries
from tests.waiting import guarded
from tests.world.fake_server import LOST_ANSWER
from tests.world.fake_slack import rate_limited

pytestmark = needs_monitoring
VARIABLES = {
    "$__rate_interval": "5m",
    "$instance": ".*",
    "$tenant": ".*",
    "$destination": ".*",
    "$node": ".*",
}
# SQLite has one process and no leases. The metrics of leases are in tests/unit/test_metrics.py.
OF_REPLICAS = {"Leases", "Takeovers"}
FIRING = ("Watchdog", "AlertRouterDestinationDown", "AlertRouterDeadLetters", "AlertRouterReloadFailed")
BODY = "{% block body %}"
FAILS_FOR_ODD = f"{BODY}{{% if 'Odd' in title %}}{{{{ nonsense }}}}{{% endif %}}"
FRAGMENT = "receivers: {own: [{slack: {channel: C0WARNINGS}}]}\nroute: {receiver: own}\n"
MOUNT = "  routes:\n    - {matchers: ['team=\"nobody\"'], mount: nobody}\n"


def asked() -> dict[str, str]:
    """Return the expression of each query, by its dashboard and panel."""
    return {
        f"{path.stem} / {title} ({number})": _filled_in(expression)
        for path in DASHBOARDS
        for number, (title, expression) in enumerate(queries(load_dashboard(path)))
        if title not in OF_REPLICAS
    }


def _filled_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def with_everything(rules: str, folder: Path, shop: str, authority: Authority) -> str:
    """Add to the rules what makes further metrics: an included file, a template that fails for some alerts, an
    Alertmanager that does not answer, and what is watched.

    :param shop: an endpoint with a certificate of the authority, in place of a monitor outside
    """
    (folder / "teams").mkdir()
    (folder / "teams" / "nobody.yaml").write_text(FRAGMENT)
    (folder / "templates").mkdir()
    mail = (ROOT / "templates" / "email.txt.j2").read_text()
    assert BODY in mail
    (folder / "templates" / "email.txt.j2").write_text(mail.replace(BODY, FAILS_FOR_ODD))
    asks = f"alertmanager_url: 'http://127.0.0.1:{free_port()}', ask_every: 1s"
    head = f"include: teams/*.yaml\ntemplates: templates\nsources:\n{SOURCE}  - {{name: lab, {asks}, silent_after: 1h}}\n"
    head += f"network: {{ca_file: {authority.file}}}\n{_what_is_watched(shop)}"
    return head + rules.replace("users:\n", f"users:\n{scraping_user()}", 1).replace("  routes:\n", MOUNT, 1)


def _what_is_watched(monitor: str) -> str:
    """Return sections of routes.yaml, each with a metric that exists because of it."""
    # A drill begins with the next slot of its schedule after the start, which takes a minute on a busy machine.
    soon = datetime.now(UTC) + timedelta(minutes=2, seconds=10)
    return f"""heartbeats: [{{name: watchdog, matchers: ['alertname=Watchdog'], source: prod}}]
deadman: {{url: '{monitor}', every: 10s}}
drill: {{at: "{soon:%H:%M}", timezone: UTC, receivers: [oncall], timeout: 1s}}
tenant_label: team
tenants: [{{name: db}}]
"""


def environ(folder: Path) -> dict[str, str]:
    """Return the variables of a router that makes backups."""
    return {"ALERT_ROUTER_BACKUP_TO": str(folder / "backups")}


async def trouble(router: Router, providers: Providers, turn: int) -> None:
    """Let further alerts fire, two calls of Slack fail at the beginning, and requests be refused."""
    if turn == 1:
        providers.slack.fail(rate_limited(1), LOST_ANSWER)
    odd = alert(f"Odd{turn}", "critical", instance=f"db-{turn}")
    unknown = alert(f"Unknown{turn}", "urgent")
    for each in (odd, unknown):
        assert await router.post(webhook(each)) == 200
    assert await router.post(b"no webhook") == 202
    async with aiohttp.ClientSession() as session, session.get(f"{router.url}/now") as refused:
        assert refused.status == 401
    _, writer = connection = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(
        b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8_000) for n in range(20))
    )
    with contextlib.suppress(ConnectionResetError):  # it answers nothing more
        await connection[0].read()
    writer.close()


@asynccontextmanager
async def secure_shop(authority: Authority) -> AsyncIterator[str]:
    """An endpoint with a certificate; its address."""
    pair = authority.issue("shop")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response()

    app, port = web.Application(), free_port()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


async def test_no_query_of_a_dashboard_is_empty(providers: Providers, folder: Path) -> None:
    authority = Authority(folder, "authority")
    left, turn = asked(), 0
    async with (
        secure_shop(authority) as shop,
        troubled_service(
            providers, folder, lambda rules: with_everything(rules, folder, shop, authority), environ(folder)
        ) as there,
    ):
        targets = [{"targets": [shop], "labels": {"service": "shop"}}]
        address, mail = f"127.0.0.1:{there.router.port}", providers.mail.smarthost
        async with MonitoringStack(folder, address, TOKENS, targets, mail, authority.file).run() as stack:

            async def none_is_empty() -> bool:
                nonlocal turn
                turn += 1
                await trouble(there.router, providers, turn)
                for panel, expression in list(left.items()):
                    if await stack.query(expression):
                        del left[panel]
                return not left

            async with guarded(
                lambda: "\n".join(f"{panel}: {expression}" for panel, expression in left.items())
            ):
                while not await none_is_empty():  # noqa: ASYNC110  (there is no event to wait for)
                    await asyncio.sleep(1)  # real time: until Prometheus has scraped again
            for name in FIRING:
                await stack.until_found(f'ALERTS{{alertstate="firing", alertname="{name}"}}')
