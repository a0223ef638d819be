"""The page of digests, in a real browser."""

import json
from pathlib import Path

from playwright.async_api import expect

from tests.acceptance.browsers import browsing, look, needs_chromium
from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running

pytestmark = needs_chromium


async def test_the_next_digest_is_shown_as_its_reader_sees_it(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    async with running(router), browsing(f"{router.url}/digests") as page:
        await expect(page.get_by_text("It has nothing to report so far.")).to_be_visible()
        labels = {
            "alertname": "BackupSlow",
            "severity": "info",
            "note": "<script>document.title='run'</script>",
        }
        await router.post(json.dumps({"alerts": [{"labels": labels}]}).encode())
        # Without loading the page again: the server says that something has changed.
        await expect(page.get_by_text("It reports 1 firing alert,")).to_be_visible()
        frame = page.locator("#main iframe").content_frame
        await expect(frame.get_by_text("BackupSlow")).to_be_visible()
        assert await page.title() == "Digests · Alert router"
        assert await look(page) == []
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        assert await look(page) == []
