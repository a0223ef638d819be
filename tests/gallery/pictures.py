"""The pictures of the gallery: cards of the preview, drawn by Chromium, as small PNGs with a palette."""

import base64
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from playwright.async_api import Page, async_playwright

from router.channels.cards import card
from router.channels.outbox import Entry
from router.cli.message_page import page_with_cards
from tests.gallery.texts import KEY

CHROMIUM = Path("/usr/bin/chromium")
MAX_PICTURE_BYTES = 60_000
_WIDTH, _MAX_HEIGHT, _MIN_HEIGHT = 700, 1_000, 300
_COLORS = 48
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-lcd-text", "--disable-background-networking")
_SHOWN = """
document.querySelector("header").remove();
document.querySelector("main").style.padding = "8px";
document.querySelector("section").style.columns = "1";
"""
_OPENED = """document.querySelectorAll("details:not(.raw)").forEach((each) => { each.open = true; })"""
# Takes a PNG in base64 and a number of colours. Returns width, height, the colours, and the colour of each pixel in
# base64. The most frequent colours are kept; others become the nearest of them.
_REDUCE = """
async ([png, limit]) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const counts = new Map();
  const level = (value) => Math.round(((value >> 3) * 255) / 31); // Chromium varies in the lowest bits
  const colorAt = (at) => (level(pixels[at]) << 16) | (level(pixels[at + 1]) << 8) | level(pixels[at + 2]);
  for (let at = 0; at < pixels.length; at += 4) {
    const color = colorAt(at);
    counts.set(color, (counts.get(color) ?? 0) + 1);
  }
  const palette = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, limit).map(([color]) => color);
  const distance = (a, b) =>
    ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;
  const nearest = new Map();
  const indexOf = (color) => {
    if (!nearest.has(color)) {
      let best = 0;
      palette.forEach((each, index) => { if (distance(each, color) < distance(palette[best], color)) best = index; });
      nearest.set(color, best);
    }
    return nearest.get(color);
  };
  let indexes = "";
  for (let at = 0; at < pixels.length; at += 4) indexes += String.fromCharCode(indexOf(colorAt(at)));
  return [image.width, image.height, palette, btoa(indexes)];
}
"""


@asynccontextmanager
async def drawing() -> AsyncIterator[Page]:
    """Open a page in Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        # A message can't run scripts, but the page's own policy would also stop those of this module.
        yield await browser.new_page(viewport={"width": _WIDTH, "height": _MIN_HEIGHT}, bypass_csp=True)
        await browser.close()


async def picture(page: Page, entry: Entry) -> bytes:
    """Return the card of an entry as a PNG of at most :data:`MAX_PICTURE_BYTES`; its lower end is cut if need be."""
    document = page_with_cards("Gallery", [card(entry, ZoneInfo("UTC"))])
    document = KEY.sub("0" * 12, document.replace('loading="lazy"', ""))  # the same picture at each run
    await page.set_content(document, wait_until="load")
    await page.evaluate(_SHOWN)
    if entry.channel == "pagerduty":
        await page.evaluate(_OPENED)
    whole = await page.evaluate("Math.ceil(document.querySelector('main').getBoundingClientRect().bottom)")
    height = min(_MAX_HEIGHT, int(whole))
    await page.set_viewport_size({"width": _WIDTH, "height": height})
    while True:
        png = await page.screenshot(clip={"x": 0, "y": 0, "width": _WIDTH, "height": height})
        small = await _with_palette(page, png)
        if len(small) <= MAX_PICTURE_BYTES or height <= _MIN_HEIGHT:
            return small
        height -= 100


async def _with_palette(page: Page, png: bytes) -> bytes:
    found: list[Any] = await page.evaluate(_REDUCE, [base64.b64encode(png).decode(), _COLORS])
    width, height, palette, indexes = found
    return palette_png(width, height, palette, base64.b64decode(indexes))


def palette_png(width: int, height: int, palette: list[int], indexes: bytes) -> bytes:
    """Return a PNG. https://www.w3.org/TR/png-3/ :param palette: as 0xRRGGBB :param indexes: of each pixel, row by row"""
    rows = b"".join(b"\0" + indexes[row * width : (row + 1) * width] for row in range(height))
    colors = b"".join(color.to_bytes(3, "big") for color in palette)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"PLTE", colors), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
