"""The pages of the configuration, the quarantine, the ledger and the API, in a real browser."""

from pathlib import Path

from playwright.async_api import expect

from tests.acceptance.browsers import browsing, look, needs_chromium
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running

pytestmark = needs_chromium


async def test_a_reload_shows_what_changed_and_each_mistake(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    async with running(router), browsing(f"{router.url}/configuration") as page:
        await expect(page.locator("#on-disk")).to_contain_text("the same files")
        file = folder / "routes.yaml"
        file.write_text(file.read_text().replace("C0WARNINGS", "C0OTHERS"))
        await page.reload()
        await expect(page.locator("#on-disk")).to_contain_text("routes.yaml changed")
        await page.get_by_role("button", name="Reload the files").click()
        await expect(page.locator("#done")).to_have_text("The files were loaded again.")
        assert await look(page) == []
        await page.locator("#load-2").get_by_role("link").click()
        await expect(page.locator(".added")).to_contain_text("C0OTHERS")
        assert await look(page) == []
        await page.get_by_role("link", name="as they were loaded").click()
        await expect(page.locator("pre.file")).to_contain_text("C0OTHERS")
        # A line has an address, and the browser shows it.
        name = await page.locator("pre.file .code").nth(1).get_attribute("id")
        await page.goto(f"{page.url}#{name}")
        await expect(page.locator(".code:target")).to_have_attribute("data-line", "2")
        assert await look(page) == []
        file.write_text(file.read_text().replace("receiver: oncall", "receiver: onclal"))
        await page.goto(f"{router.url}/configuration")
        await page.get_by_role("button", name="Reload the files").click()
        await expect(page.get_by_role("region", name="The last load failed")).to_contain_text(
            "did you mean 'oncall'?"
        )
        await expect(page).to_have_title(
            "⚠ routes.yaml can't be used; the last good one stays in force · Configuration · Alert router"
        )
        assert await look(page) == []


async def test_a_quarantined_body_is_looked_at_and_settled(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    async with running(router):
        assert await router.post(b"<img src=x onerror=alert(1)>") == 202
        assert await router.post(b"\xff" * 100) == 202
        async with browsing(f"{router.url}/quarantine") as page:
            await expect(page.locator("tbody tr")).to_have_count(2)
            assert await look(page) == []
            await page.locator("tbody tr").last.get_by_role("link", name="Show").click()
            await expect(page.locator("#begin")).to_have_text("<img src=x onerror=alert(1)>")
            assert await look(page) == []
            async with page.expect_download() as download:
                await page.get_by_role("link", name="Download").click()
            saved = await (await download.value).path()
            assert saved.read_bytes() == b"<img src=x onerror=alert(1)>"
            await page.get_by_role("button", name="Settle").click()
            await expect(page.locator("#done")).to_have_text("The body is settled.")
            await expect(page.locator("tbody tr")).to_have_count(1)


async def test_the_ledger_and_the_api_are_accessible(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    async with running(router), browsing(f"{router.url}/ledger") as page:
        await expect(page.locator("#balance")).to_have_text("Balanced.")
        await page.get_by_label("From").fill("2026-11-01T00:00")
        await page.get_by_role("button", name="Count this period").click()
        await expect(page.locator("#period")).to_contain_text("From Sun 1 Nov 2026 00:00:00 until now")
        assert await look(page) == []
        await page.goto(f"{router.url}/api")
        await page.locator("#show_ledger summary").click()
        await expect(page.locator("#show_ledger")).to_contain_text("changes_x_destinations")
        assert await look(page) == []
