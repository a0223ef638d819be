"""The page of the rules in force, in a real browser."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.acceptance.browsers import browsing, look, needs_chromium
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running

pytestmark = needs_chromium
_SHOP = """
  - name: shop
    time_intervals:
      - {location: Asia/Tokyo, times: [{start_time: "10:00", end_time: "24:00"}]}
route:"""


async def test_typed_labels_light_up_the_path(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    async with running(router), browsing(f"{router.url}/routes") as page:
        await page.get_by_label("Labels").fill('severity="warning"\nteam=db')
        await page.get_by_label("Time").fill("2026-11-20 22:41")
        await page.get_by_role("button", name="Show the path").click()
        result = page.get_by_role("region", name="Result")
        await expect(result).to_contain_text("slack:C0WARNINGS hold is notified when the hours open")
        taken = page.locator(".tree .step.takes > .route")
        await expect(taken).to_have_count(1)
        await expect(taken).to_contain_text("✓ takes it")
        await expect(page.locator(".tree .step.refuses > .route")).to_contain_text(
            "it needs severity: critical"
        )
        assert "labels=severity" in page.url
        assert await look(page) == []
        await page.go_back()
        await expect(page.get_by_role("region", name="Result")).to_have_count(0)


async def test_the_page_draws_when_each_time_interval_is_open(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes.replace("\nroute:", _SHOP))
    async with running(router), browsing(f"{router.url}/routes") as page:
        office, shop = page.locator("#interval-1"), page.locator("#interval-2")
        await expect(office.get_by_role("heading", name="office")).to_be_visible()
        await expect(office.locator("tbody tr")).to_have_count(14)
        await expect(office.get_by_role("row").filter(has_text="18:00")).to_have_count(10)
        await expect(office.get_by_role("row").filter(has_text="closed")).to_have_count(4)
        await expect(shop).to_contain_text("Days of Asia/Tokyo")
        await shop.get_by_text("The next 14 days").click()
        await expect(shop.locator("tr[aria-current=date] .now")).to_have_count(1)

        # To scale: the bar of 14 of 24 hours ends with its day.
        bar = await shop.locator("td .open").first.bounding_box()
        day = await shop.locator("td svg").first.bounding_box()
        assert bar is not None
        assert day is not None
        assert bar["width"] == pytest.approx(day["width"] * 14 / 24, abs=3)
        assert bar["x"] + bar["width"] == pytest.approx(day["x"] + day["width"], abs=3)

        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert await look(page) == []
