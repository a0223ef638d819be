"""The sample incident on the pages about alerts, in a real browser."""

from playwright.async_api import Page, expect

from tests.acceptance.browsers import look, needs_chromium
from tests.acceptance.test_page import page, preview

__all__ = ["page", "preview"]  # fixtures
pytestmark = needs_chromium


async def test_from_now_to_the_story_of_a_held_alert(page: Page, preview: str) -> None:
    await page.goto(f"{preview}/now")
    groups = page.locator("article.card")
    await expect(groups.first).to_contain_text("HighErrorRate × 3")
    await expect(groups.filter(has_text="DiskWillFillIn4Days")).to_contain_text("held until Mon 30 Nov 09:00")
    await page.get_by_role("link", name="DiskWillFillIn4Days on db-3", exact=True).first.click()
    await expect(page.locator("h1")).to_have_text("DiskWillFillIn4Days on db-3")
    notes = page.locator("ul.notes li")
    await expect(notes).to_have_count(2)
    await expect(notes.first).to_contain_text("It is sent then if it still fires.")
    await expect(page.locator(".timeline li")).to_have_count(3)
    await expect(page.locator(".timeline")).to_contain_text("routes.yaml:")
    await page.go_back()
    await page.get_by_role("link", name="2 held until").click()
    await expect(page.locator("tbody tr")).to_have_count(2)


async def test_filters_are_in_the_address_and_back_works(page: Page, preview: str) -> None:
    await page.goto(f"{preview}/now")
    await page.get_by_label("Severity").select_option("warning")
    await page.get_by_label("Labels", exact=True).fill('instance=~"db-.*"')
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("article.card")).to_have_count(1)
    assert "severity=warning" in page.url
    await expect(page.get_by_label("Labels", exact=True)).to_have_value('instance=~"db-.*"')
    await page.get_by_role("link", name="Show everything").click()
    await expect(page.locator("article.card")).to_have_count(5)
    await page.go_back()
    await expect(page.locator("article.card")).to_have_count(1)
    await page.get_by_role("searchbox").fill("BackupSlow")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("BackupSlow on db-1")


async def test_the_page_follows_without_losing_what_is_typed(page: Page, preview: str) -> None:
    await page.goto(f"{preview}/now")
    field = page.get_by_label("Any label has")
    await field.fill("half typ")
    await page.locator("article.card summary").first.click()
    await field.focus()
    alert = {"status": "firing", "labels": {"alertname": "JustNow", "severity": "critical"}}
    await page.request.post(f"{preview}/webhook", data={"alerts": [alert]})
    await expect(page.locator("article.card").filter(has_text="JustNow")).to_have_count(1)
    await expect(field).to_be_focused()
    await expect(field).to_have_value("half typ")
    await expect(page.locator("details[open]")).to_have_count(1)


async def test_the_pages_about_alerts_are_accessible(page: Page, preview: str) -> None:
    await page.goto(f"{preview}/find?q=BackupSlow")
    story = page.url.removeprefix(preview)
    for path in ("/now", "/alerts?status=any", story, "/waiting", "/decisions"):
        await page.goto(f"{preview}{path}", wait_until="load")
        assert await look(page) == [], path
