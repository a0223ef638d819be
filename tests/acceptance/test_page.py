"""What a newcomer sees after `make run`, in a real browser."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.browsers import browsing, needs_chromium
from tests.acceptance.conftest import Providers
from tests.acceptance.forked import Forked
from tests.acceptance.processes import ROOT, Router, free_port, running, until

pytestmark = needs_chromium


@pytest.fixture
async def preview(tmp_path: Path) -> AsyncIterator[str]:
    """`make run`, once its sample incident has been played; the address."""
    printed, address = tmp_path / "printed", f"127.0.0.1:{free_port()}"
    process = Forked(("serve", "--preview", "--sample", "--listen", address), ROOT, printed)

    async def played() -> bool:
        said = printed.read_text() if printed.exists() else ""
        assert process.returncode is None, f"it ended: {said}"
        return "resolved:" in said

    await until(played, "the sample incident is played")
    assert printed.read_text().count("-> 200") == 8
    yield f"http://{address}"
    process.terminate()
    await process.wait()


@pytest.fixture
async def page(preview: str) -> AsyncIterator[Page]:
    async with browsing(preview) as page:
        yield page


EVERYTHING = """
timezone: UTC
channels:
  webhook: {}
  discord: {}
receivers:
  team:
    - webhook: {url: "https://hooks.example/alerts", name: archive}
    - discord: {webhook_url: "https://discord.com/api/webhooks/123/token", name: ops}
route: {receiver: team}
"""


async def test_discord_and_webhooks_are_drawn_as_readers_see_them(folder: Path) -> None:
    router = Router(folder, EVERYTHING, environ={"ALERT_ROUTER_PREVIEW": "1"})
    async with running(router), browsing(router.url) as page:
        await page.goto(f"{router.url}/?channel=discord")
        card = page.locator("#messages .card")
        for status in ("firing", "resolved"):
            await router.post(
                json.dumps(
                    {"status": status, "alerts": [{
                        "status": status, "labels": {"alertname": "Down_*now*", "severity": "critical"},
                        "annotations": {"summary": "web-1 is **down**", "runbook_url": "https://run.example/b"},
                    }]}
                ).encode()
            )  # fmt: skip
            await expect(card.locator("h2")).to_contain_text("Down_*now*")  # without reloading the page
            await expect(card.locator("h2")).to_contain_text("Resolved" if status == "resolved" else "Down")
        await expect(page.locator("#tabs a")).to_have_text(["Webhook 1", "Discord 1"], use_inner_text=True)
        await expect(card).to_contain_text("updated 1 time")
        await expect(card).to_contain_text("web-1 is **down**")
        assert "\\" not in await card.inner_text()
        await expect(card.get_by_role("link", name="Runbook")).to_have_attribute(
            "href", "https://run.example/b"
        )

        await page.get_by_role("link", name="Webhook").click()
        posts = page.locator("#messages .card h3")
        await expect(posts).to_have_count(2)
        await expect(posts.first).to_contain_text("resolved")
        await expect(page.locator("#messages pre").first).to_contain_text('"groupKey"')


async def test_the_sample_is_shown_and_the_clock_releases_held_alerts(page: Page, preview: str) -> None:
    cards = page.locator("#messages .card")
    await expect(cards.filter(has_text="HighErrorRate")).to_contain_text("3 firing")
    await expect(cards.filter(has_text="HighErrorRate")).to_contain_text("new: checkout-3")
    await expect(cards.filter(has_text="TargetDown")).to_contain_text("Resolved")
    await expect(cards).to_have_count(2)

    await page.click("#tab-pagerduty")
    await expect(cards.filter(has_text="HighErrorRate")).to_contain_text("triggered")
    await expect(cards.filter(has_text="TargetDown")).to_contain_text("resolved")

    await page.click("#tab-email")
    mail = cards.filter(has_text="TargetDown").first
    await expect(mail.frame_locator("iframe").get_by_role("heading", name="TargetDown").first).to_be_visible()

    await page.click("#tab-digest")
    digest = cards.first.frame_locator("iframe")
    await expect(digest.get_by_text("CertificateExpiresIn21Days")).to_be_visible()
    await expect(digest.get_by_text("DiskWillFillIn4Days")).to_be_visible()

    await page.go_back()
    await page.click("#tab-slack")
    await page.get_by_role("button", name="next opening").click()
    await expect(page.locator("#done")).to_have_text("The clock was moved.")
    await expect(cards.filter(has_text="DiskWillFillIn4Days")).to_contain_text("held since Fri 22:41")
    await expect(page.locator("#tab-digest span")).to_have_text("3")  # Saturday's, Sunday's, Monday's


async def test_a_delivery_of_the_sample_is_shown_as_its_reader_saw_it(page: Page, preview: str) -> None:
    await page.get_by_role("link", name="Deliveries").click()
    await expect(page.locator("#chart")).to_contain_text("12 delivered")
    await page.locator("#chart-table summary").click()
    await expect(page.locator("#chart-table tbody tr")).to_have_count(1)
    await page.select_option("#filter-destination", "email:oncall@example.com")
    await page.get_by_role("button", name="Show").click()
    rows = page.locator("tbody tr[id^=delivery-]")
    await expect(rows.filter(has_text="TargetDown")).to_have_count(2)
    await rows.first.get_by_role("link").click()
    await expect(page.locator("h1")).to_contain_text("Delivery ")
    mail = page.frame_locator("#message iframe")
    await expect(mail.get_by_role("heading", name="TargetDown").first).to_be_visible()
    frame = await page.locator("#message iframe").bounding_box()
    assert frame is not None
    assert frame["height"] > 200
    await page.go_back()
    await expect(page.locator("#filter-destination")).to_have_value("email:oncall@example.com")


async def test_the_whole_preview_fits_a_phone(page: Page, preview: str) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await expect(page.locator("#messages .card")).to_have_count(2)
    tabs = [await each.get_attribute("href") for each in await page.locator("#tabs a").all()]
    for address in [*tabs, "/deliveries", "/dead-letters"]:
        assert address is not None
        await page.goto(f"{preview}{address}")
        await expect(page.locator("h1")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert not {"undefined", "NaN", "[object"} & set((await page.locator("main").inner_text()).split())


async def test_what_a_slack_message_cannot_hold_is_shown_as_its_replies(page: Page, preview: str) -> None:
    alert = {
        "status": "firing", "labels": {"alertname": "Talkative", "severity": "critical"},
        "annotations": {"summary": "word " * 1_500 + "the end"},
    }  # fmt: skip
    body = {"version": "4", "groupKey": "x", "receiver": "r", "status": "firing", "alerts": [alert]}
    await page.request.post(f"{preview}/webhook", data=body)
    thread = page.locator("#messages .card").filter(has_text="Talkative").locator(".thread")
    await expect(thread).to_contain_text("1 reply in the thread")
    await expect(thread).to_contain_text("2/2")
    await expect(thread).to_contain_text("the end")


async def test_what_an_alert_says_is_shown_and_never_run(page: Page, preview: str) -> None:
    body = {
        "version": "4", "groupKey": "x", "receiver": "r", "status": "firing", "externalURL": "javascript:alert(1)",
        "alerts": [{"status": "firing", "labels": {"alertname": "<img src=x onerror=alert(1)>", "severity": "critical"},
                    "annotations": {"summary": "<script>document.title='run'</script> <https://evil|*click*>",
                                    "runbook_url": "javascript:alert(1)"}}],
    }  # fmt: skip
    await page.request.post(f"{preview}/webhook", data=body)
    card = page.locator("#messages .card").filter(has_text="onerror")
    await expect(card).to_contain_text("<script>document.title='run'</script>")
    assert await page.title() == "Messages · Alert router"
    await page.goto(f"{preview}/deliveries")
    row = page.locator("tbody tr[id^=delivery-]").filter(has_text="onerror").first
    await row.get_by_role("link").click()
    await expect(page.locator("#message")).to_contain_text("onerror")
    for address in ("/", "/deliveries"):
        await page.goto(f"{preview}{address}")
        assert await page.locator("img").count() == 0
        assert await page.locator('a[href^="javascript"]').count() == 0


BERT = "bert@example.com"


async def test_a_dead_letter_is_retried_and_seen_delivered(providers: Providers, folder: Path) -> None:
    router = Router(
        folder, providers.routes.replace("to: [oncall@example.com]", f"to: [anna@example.com, {BERT}]")
    )
    providers.mail.refused = {BERT: "550 5.1.1 <script>no such user</script>"}
    async with running(router), browsing(f"{router.url}/dead-letters") as page:
        await expect(page.locator(".empty")).to_have_text("No dead letter: nothing was given up.")
        await router.post(b'{"alerts": [{"labels": {"alertname": "Down", "severity": "critical"}}]}')
        row = page.locator("tbody tr[id^=dead-letter-]")
        await expect(row).to_contain_text(BERT)  # without reloading the page
        await expect(row).to_contain_text("<script>no such user</script>")
        assert (await page.title()).startswith("⚠ 1 dead letter")

        await row.get_by_role("link", name="Discard").click()
        await expect(page.locator("h1")).to_have_text("Discard 1 dead letter?")
        await page.get_by_role("link", name="Keep it").click()

        providers.mail.refused = {}
        await row.get_by_role("button", name="Try again").click()
        await expect(page.locator("#done")).to_have_text("It is tried again now.")
        await expect(row).to_have_count(0)
        await expect(page).not_to_have_title(re.compile("dead letter"))
        await page.goto(f"{router.url}/deliveries?destination=email:anna@example.com,{BERT}")
        await expect(page.locator("tbody tr[id^=delivery-] .delivered")).to_have_count(2)
    assert [BERT in mail.recipients for mail in providers.mail.mails] == [False, True]


async def test_broken_rules_are_shown_on_the_page_until_corrected(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    async with running(router), browsing(f"{router.url}/configuration") as page:
        notice = page.get_by_role("region", name="The last load failed")
        await expect(page.locator("#live")).to_have_class("on")
        await expect(notice).to_have_count(0)
        router.hang_up(providers.routes.replace("receiver: daily", "receiver: dayli"))
        await expect(notice).to_have_count(1)  # without a reload of the page
        await expect(page).to_have_title(re.compile("routes.yaml"))
        await notice.click()
        await expect(page.get_by_text("did you mean 'daily'?").first).to_be_visible()
        assert (
            await router.post(b'{"alerts": [{"labels": {"alertname": "Slow", "severity": "info"}}]}') == 200
        )
        router.hang_up(providers.routes)
        await expect(notice).to_have_count(0)
        assert await router.fates() == {"digest": 1}

        async def reloaded() -> bool:
            return '"action": "reloaded"' in router.log

        await until(reloaded, "the reload is in the log")
