"""The page of objectives in a real browser: a month of events, of all tenants together and of one."""

from itertools import product

from router.model import HOUR
from tests.acceptance.browsers import chromium, look, needs_chromium, opened
from tests.world.conftest import MONDAY_NOON, World

_TENANTS = ("shop", "payments & <billing>", "other", "none")


def with_tenants(rules: str) -> str:
    named = "[{name: shop, slo: {in_time: 99.9}}, {name: 'payments & <billing>'}]"
    return f"{rules}\ntenant_label: team\ntenants: {named}\n"


async def month_of_events(world: World) -> None:
    """Events of 29 days: one tenant misses an objective, the others don't."""
    assert world.service is not None
    start = MONDAY_NOON // HOUR * HOUR
    events = {}
    for hour, tenant in product(range(29 * 24), _TENANTS):
        at, is_bad = start - hour * HOUR, hour % 50 == 0
        events[at, "", "accepted"] = (10, int(hour == 200))
        events[at, tenant, "in_time"] = (5, int(is_bad and tenant == "shop"))
        events[at, tenant, "delivered"] = (5, int(hour % 200 == 0))
    await world.service.store.add_events(events)


@needs_chromium
async def test_error_budgets_are_legible_on_each_screen(world: World) -> None:
    await world.start(with_tenants)
    await month_of_events(world)
    assert world.service is not None
    wrong: list[str] = []
    async with chromium() as browser, opened(browser) as page:
        for number, path in enumerate(("/slo", "/slo?tenant=shop", "/slo?tenant=payments+%26+%3Cbilling%3E")):
            await page.goto(f"{world.service.url}{path}", wait_until="load")
            wrong += await look(page, f"slo-{number}")
            assert await page.locator("svg.budget").count() == (2 if number else 3)
            await page.locator("summary").first.click()
            assert await page.locator("section table").first.locator("tbody tr").count() == 30
        await page.goto(f"{world.service.url}/slo?tenant=shop", wait_until="load")
        assert "missed" in await page.locator("#objective-in_time h2").inner_text()
        assert await page.locator("polyline.used-up").count() == 1
    assert wrong == []
