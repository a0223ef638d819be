"""An endpoint fails, and comes back: blackbox_exporter, the deployed rules, Alertmanager, the router, PagerDuty."""

import hashlib
from pathlib import Path

from aiohttp import web

from tests.acceptance.conftest import Providers
from tests.acceptance.monitoring_stack import MonitoringStack, needs_monitoring
from tests.acceptance.processes import Router, free_port, running
from tests.world.fake_pagerduty import Page

pytestmark = needs_monitoring
SCRAPE, POST = "alert_router_of-prometheus", "of-alertmanager"


def routes_for_monitoring(routes: str) -> str:
    """Return rules with a user for Prometheus and a source for Alertmanager."""
    return f"users:\n{scraping_user()}sources:\n{SOURCE}{routes}"


def scraping_user() -> str:
    hashed = hashlib.sha256(SCRAPE.encode()).hexdigest()
    return f"  - {{name: prometheus, role: view, tokens: ['sha256:{hashed}']}}\n"


SOURCE = f"  - {{name: prod, bearer_token: {POST}}}\n"
TOKENS = {"alert_router_scrape_token": SCRAPE, "alert_router_webhook_token": POST}


class Shop:
    """The endpoint."""

    def __init__(self) -> None:
        self.status = 200
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def answer(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status)


async def test_a_failing_endpoint_pages_and_its_return_resolves(providers: Providers, folder: Path) -> None:
    shop = Shop()
    app = web.Application()
    app.router.add_get("/", shop.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", shop.port).start()
    router = Router(folder, routes_for_monitoring(providers.routes))
    targets = [{"targets": [shop.url], "labels": {"service": "shop", "cluster": "eu-1"}}]
    stack = MonitoringStack(folder, f"127.0.0.1:{router.port}", TOKENS, targets, providers.mail.smarthost)
    pagerduty = providers.pagerduty
    try:
        async with running(router), stack.run():
            await stack.until_found(f'probe_success{{instance="{shop.url}", module="http_2xx"}} == 1')
            assert pagerduty.accepted == []
            shop.status = 500
            await pagerduty.until(lambda: bool(pagerduty.accepted))
            pagerduty.expect(Page("EndpointDown", open=True))
            assert shop.url in str(pagerduty.accepted[0].payload)
            shop.status = 200
            await pagerduty.until(lambda: not pagerduty.only.open)
            pagerduty.expect(Page("EndpointDown", open=False))
    finally:
        await runner.cleanup()


async def test_a_router_that_is_down_is_reported_around_it(providers: Providers, folder: Path) -> None:
    router = Router(folder, routes_for_monitoring(providers.routes))
    stack = MonitoringStack(folder, f"127.0.0.1:{router.port}", TOKENS, [], providers.mail.smarthost)
    down = "The alert router is down"

    def subjects(status: str) -> list[str]:
        found = providers.subjects("oncall@example.com")
        return [each for each in found if each.startswith(f"[{status}]") and down in each]

    await router.start()
    try:
        async with stack.run():
            await stack.until_found('up{job="alert-router"} == 1')
            await router.stop()
            await providers.mail.until(lambda: bool(subjects("firing")))
            await router.start()
            await providers.mail.until(lambda: bool(subjects("resolved")))
    finally:
        await router.stop()
    assert providers.pagerduty.accepted == []
