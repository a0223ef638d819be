"""An incident as an operator goes through it, in a real browser: from what fires to the message that was sent, and what a
viewer and an operator may do about a dead letter.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.browsers import browsing, chromium, look, needs_chromium, opened, walk_by_keyboard
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running
from tests.acceptance.test_page import preview
from tests.acceptance.test_sign_in import submitted
from tests.acceptance.troubled import BERT, alert, routes_with_dead_letters, webhook

__all__ = ["preview"]  # a fixture
pytestmark = needs_chromium


@pytest.fixture
async def page(preview: str) -> AsyncIterator[Page]:
    async with browsing(preview) as page:
        yield page


async def test_from_what_fires_to_the_message_and_back(page: Page, preview: str) -> None:
    await page.get_by_role("link", name="Now", exact=True).click()
    group = page.locator("article.card").filter(has_text="HighErrorRate × 3")
    await expect(group).to_contain_text("notified")
    await group.locator("summary").click()
    await group.get_by_role("link", name="HighErrorRate on checkout-3", exact=True).click()
    await expect(page.locator("h1")).to_have_text("HighErrorRate on checkout-3")
    await expect(page.locator(".timeline")).to_contain_text("routes.yaml:")
    alert_page = page.url
    attempt = page.locator(".timeline li.attempt").filter(has_text="email:oncall@example.com")
    await attempt.last.get_by_role("link", name="What was sent, and what came back").click()
    await expect(page.locator("h1")).to_contain_text("Delivery ")
    await expect(page.locator("dl.facts")).to_contain_text("it was accepted")
    mail = page.frame_locator("#message iframe")
    await expect(mail.get_by_text("checkout-3").first).to_be_visible()
    delivery_page = page.url
    await page.locator("table").get_by_role("link", name="HighErrorRate").first.click()
    await expect(page.locator("h1")).to_contain_text("HighErrorRate on checkout-")
    for address in (delivery_page, alert_page, f"{preview}/now"):
        await page.go_back()
        await expect(page).to_have_url(address)
    await expect(group).to_be_visible()


async def test_a_rule_of_the_story_leads_to_its_line(page: Page, preview: str) -> None:
    await page.goto(f"{preview}/find?q=BackupSlow")
    await (
        page.locator(".timeline")
        .get_by_role("link", name=re.compile(r"^route\.routes\[\d\] \("))
        .first.click()
    )
    await expect(page.locator(".code:target")).to_contain_text("severity: info")


@pytest.mark.parametrize("channel", ["", "/?channel=email", "/?channel=digest"])
async def test_the_preview_is_legible(page: Page, preview: str, channel: str) -> None:
    await page.goto(f"{preview}{channel}")
    await expect(page.locator("#messages .card").first).to_be_visible()
    assert await look(page, f"preview{re.sub('[^a-z]+', '-', channel)}") == []
    assert await walk_by_keyboard(page) == []


async def test_a_viewer_looks_and_an_operator_retries(providers: Providers, folder: Path) -> None:
    letters = f"{(router := Router(folder, routes_with_dead_letters(providers))).url}/dead-letters"
    row = "tbody tr[id^=dead-letter-]"
    async with running(router), chromium() as browser:
        assert await router.post(webhook(alert("Down", "critical"))) == 200
        async with opened(browser, "vera", allowed=("403",)) as page:
            await page.goto(letters)
            await expect(page.locator(row)).to_contain_text(BERT)
            await expect(page.locator("#who")).to_contain_text("vera (view)")
            assert (
                await page.locator(
                    "main form[method=post], main input[type=checkbox], main a[href$=discard]"
                ).count()
                == 0
            )
            await page.locator(row).get_by_role("link", name="Down").first.click()
            await expect(page.locator("h1")).to_contain_text("Dead letter ")
            letter = page.url
            assert await page.locator("main form[method=post], main a[href$=discard]").count() == 0
            for path in ("/retry", "/discard"):
                assert await submitted(page, f"{letter}{path}") == 403
            await page.goto(f"{letter}/discard")
            assert await page.locator("main form[method=post]").count() == 0

        async with opened(browser, "otto") as page:
            await page.goto(letters)
            providers.mail.refused = {}
            await page.locator(row).get_by_role("button", name="Try again").click()
            await expect(page.locator("#done")).to_have_text("It is tried again now.")
            await expect(page.locator(".empty")).to_have_text("No dead letter: nothing was given up.")
            await page.goto(f"{router.url}/deliveries?destination=email:anna@example.com,{BERT}")
            await expect(page.locator("tbody tr[id^=delivery-] .delivered")).to_have_count(2)
            await page.locator("tbody tr[id^=delivery-]").first.get_by_role("link").click()
            await expect(
                page.frame_locator("#message iframe").get_by_role("heading", name="Down").first
            ).to_be_visible()
            await page.goto(f"{router.url}/actions")
            actions = page.locator("tbody tr[id^=action-]")
            await expect(actions).to_have_count(3)
            await expect(actions.first).to_contain_text(
                re.compile(r"otto.*retry dead letter.*done", re.DOTALL)
            )
            await expect(actions.filter(has_text="vera").filter(has_text="refused")).to_have_count(2)
    assert [BERT in mail.recipients for mail in providers.mail.mails] == [False, True]
