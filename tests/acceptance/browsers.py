"""Real Chromium: pages in it, and what holds of each page that it shows."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]  # it ships no types
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.acceptance.processes import ROOT
from tests.waiting import GUARD

CHROMIUM = Path("/usr/bin/chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt-get install chromium")
_GUARD_MS = GUARD * 1_000  # Playwright counts milliseconds
# It looks for updates and syncs otherwise, at many a start.
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE, DESKTOP = 390, 1280
"""Widths of screens (CSS pixels)."""
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS") or ROOT / "build" / "screenshots")
"""Where tests leave pictures of the pages. The folder is not part of the repository."""
_MAX_HEIGHT = 6_000
_COLOR_RULES = ["color-contrast", "link-in-text-block"]
_RUN_AXE = """async (options) => (await axe.run(options)).violations.map(
  ({ id, nodes }) => ({ id, elements: nodes.map((node) => node.html) })
)"""

# Give each element the focus as the Tab key does, and return those that do not show it.
_WITHOUT_FOCUS_RING = """() => {
  const faulty = [];
  for (const each of document.querySelectorAll("a, button, summary, input:not([type=hidden]), select, textarea, [tabindex='0']")) {
    each.focus();
    if (document.activeElement !== each) {
      if (each.checkVisibility({ visibilityProperty: true }) && !each.disabled) faulty.push("no focus: " + each.outerHTML.slice(0, 200));
      continue;
    }
    const { outlineStyle, outlineWidth } = getComputedStyle(each);
    if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) faulty.push("not seen: " + each.outerHTML.slice(0, 200));
  }
  scrollTo(0, 0);
  return faulty;
}"""


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    expect.set_options(timeout=_GUARD_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS, timeout=_GUARD_MS)
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def opened(browser: Browser, user: str = "", allowed: Iterable[str] = ()) -> AsyncIterator[Page]:
    """A page in a profile of its own; trouble on its console fails the test.

    :param user: signs in with the password ``pw-of-USER``; empty: without credentials
    :param allowed: texts of trouble that the test makes on purpose
    """
    credentials: Any = {"username": user, "password": f"pw-of-{user}"} if user else None
    context = await browser.new_context(http_credentials=credentials)
    page = await context.new_page()
    page.set_default_timeout(_GUARD_MS)
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    yield page
    await context.close()
    unexpected = [each for each in trouble if not any(text in each for text in allowed)]
    assert unexpected == [], unexpected


@contextlib.asynccontextmanager
async def browsing(address: str) -> AsyncIterator[Page]:
    """An address in a browser of its own; trouble on the console fails the test."""
    async with chromium() as browser, opened(browser) as page:
        await page.goto(address)
        yield page


async def violations(page: Page, *, only_colors: bool = False) -> list[tuple[str, list[str]]]:
    """Return what axe-core finds, each with the elements. https://github.com/dequelabs/axe-core

    :param only_colors: run only the rules about colors: the others find the same in another color scheme
    """
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    options = {"resultTypes": ["violations"]} | ({"runOnly": _COLOR_RULES} if only_colors else {})
    found: list[dict[str, Any]] = await page.evaluate(_RUN_AXE, options)
    return [(each["id"], each["elements"]) for each in found]


async def look(page: Page, picture: str = "", widths: Iterable[int] = (DESKTOP, PHONE)) -> list[str]:
    """Look at the page on each screen, light and dark. Return what is wrong: violations of accessibility, and content that is
    wider than the screen.

    :param picture: the beginning of the names of its screenshots; empty: there are none
    """
    wrong: list[str] = []
    for width in widths:
        await page.set_viewport_size({"width": width, "height": 844 if width == PHONE else 900})
        if (wide := await page.evaluate("document.documentElement.scrollWidth")) > width:
            wrong.append(f"{width} px: it is {wide} px wide")
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
            found = await violations(page, only_colors=scheme == "dark")
            wrong += [f"{width} px, {scheme}: {each}" for each in found]
            if picture:
                await photograph(page, f"{picture}-{'phone' if width == PHONE else 'desktop'}-{scheme}")
    return wrong


async def photograph(page: Page, name: str) -> None:
    """Keep a picture of the page."""
    height = min(_MAX_HEIGHT, await page.evaluate("document.documentElement.scrollHeight"))
    width = page.viewport_size["width"] if page.viewport_size else DESKTOP
    await page.screenshot(
        path=SCREENSHOTS / f"{name}.png",
        full_page=True,
        clip={"x": 0, "y": 0, "width": width, "height": height},
    )


async def walk_by_keyboard(page: Page) -> list[str]:
    """Press Tab, and give the focus to everything that can have it. Return what is wrong."""
    await page.keyboard.press("Tab")
    skip = page.locator(":focus")
    box = await skip.bounding_box()
    wrong = []
    if await skip.get_attribute("href") != "#main" or box is None or box["x"] < 0 or box["y"] < 0:
        wrong.append(
            f"the first Tab reaches no link to the content: {await skip.evaluate('e => e.outerHTML')}"
        )
    faulty: list[str] = await page.evaluate(_WITHOUT_FOCUS_RING)
    return wrong + faulty
