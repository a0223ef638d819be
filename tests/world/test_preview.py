"""What `make run` shows, as JSON: the sample incident in the preview's time, and a clock that moves on."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from router import sample
from router.app import ServeOptions, Service
from router.clock import SystemClock
from router.model import DAY, HOUR, Millis
from router.web import preview_pages

RULES = """
timezone: Europe/Berlin
channels: {slack: {token: t}, email: {smarthost: "localhost:25", from: a@example.com, tls: none}}
receivers:
  oncall: [slack: {channel: C0CRITICAL}]
  team: [slack: {channel: C0WARNINGS}]
  daily: [digest: {to: [team@example.com], at: "08:00"}]
time_intervals:
  - name: office
    time_intervals: [{weekdays: ["monday:friday"], times: [{start_time: "09:00", end_time: "18:00"}], location: Europe/Berlin}]
route:
  receiver: team
  routes:
    - {severity: critical, receiver: oncall}
    - {severity: info, receiver: daily}
    - {receiver: team, active_time_intervals: [office], outside: hold}
inhibit_rules:
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity="warning"']
    equal: [alertname, cluster]
"""
HASH = re.compile(r"\b[0-9a-f]{16,}\b")


class Preview:
    def __init__(self, service: Service, session: aiohttp.ClientSession) -> None:
        self.service = service
        self.session = session

    async def state(self) -> Any:
        async with self.session.get(f"{self.service.url}/preview/state") as answer:
            return await answer.json()

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.service.url}{path}") as answer:
            assert answer.status == 200
            return await answer.json()

    async def move(self, to: Millis) -> int:
        address = f"{self.service.url}/preview/clock"
        async with self.session.post(address, data={"to": to}, allow_redirects=False) as answer:
            return answer.status

    async def page(self, path: str, status: int = 200) -> str:
        async with self.session.get(f"{self.service.url}{path}") as answer:
            assert answer.status == status
            return await answer.text()


@pytest.fixture
async def preview(tmp_path: Path) -> AsyncIterator[Preview]:
    """A preview in which the sample has been played and sent."""
    (tmp_path / "routes.yaml").write_text(RULES)
    options = ServeOptions(tmp_path / "routes.yaml", ("127.0.0.1", 0), preview=True, sample=True, drain=0)
    service = await Service.open(options, {}, SystemClock())
    await service.start()
    try:
        await sample.play(f"{service.url}/webhook", service.clock, lambda _line: None)
        assert service.outbox is not None
        async for _ in service.outbox.changes():
            if any("checkout-3" in str(entry.body) for entry in service.outbox.entries):
                break
        async with aiohttp.ClientSession() as session:
            yield Preview(service, session)
    finally:
        await service.stop()


def local(at: Millis) -> str:
    return datetime.fromtimestamp(at / 1_000, ZoneInfo("Europe/Berlin")).strftime("%a %H:%M")


async def test_every_message_carries_the_previews_clock(preview: Preview) -> None:
    state = await preview.state()
    assert {local(entry["at"]) for entry in state["entries"]} <= {"Fri 22:41", "Fri 22:42"}
    text = str([entry["body"] for entry in state["entries"]])
    assert "22:41 Europe/Berlin" in text
    assert not re.search(r"\d+ (h|d)\b", text)  # what began minutes ago has lasted for minutes


async def test_uptime_is_of_no_clock_that_is_moved(preview: Preview) -> None:
    before = (await preview.get("/status"))["uptime_seconds"]
    assert 0 <= before < HOUR / 1_000
    assert await preview.move((await preview.state())["now"] + 3 * DAY) == 303
    after = (await preview.get("/status"))["uptime_seconds"]
    assert before <= after < HOUR / 1_000
    clock = preview.service.clock
    assert isinstance(clock, SystemClock)
    clock.shift(-30 * DAY)
    assert after <= (await preview.get("/status"))["uptime_seconds"] < HOUR / 1_000


async def test_a_jump_passes_what_comes_first_in_its_time(preview: Preview) -> None:
    jumps = (await preview.state())["jumps"]
    assert [(jump["label"], local(jump["at"])) for jump in jumps] == [
        ("next digest", "Sat 08:00"), ("next opening", "Mon 09:00"),
    ]  # fmt: skip
    assert await preview.move(jumps[-1]["at"]) == 303
    state = await preview.state()
    assert 0 <= state["now"] - jumps[-1]["at"] < HOUR
    digests = [entry for entry in state["entries"] if entry["channel"] == "digest"]
    assert [local(entry["at"]) for entry in digests] == ["Mon 08:00", "Sun 08:00", "Sat 08:00"]
    held = [
        entry for entry in state["entries"] if "DiskWillFill" in str(entry["body"]) and entry not in digests
    ]
    assert [local(entry["at"]) for entry in held] == ["Mon 09:00"]
    assert [jump["label"] for jump in state["jumps"]] == ["next digest"]


@pytest.mark.parametrize("by", [0, -HOUR, 367 * DAY])
async def test_the_clock_moves_forward_only(preview: Preview, by: Millis) -> None:
    before = (await preview.state())["now"]
    assert await preview.move(before + by) == 400
    assert (await preview.state())["now"] - before < HOUR


async def test_each_message_is_delivered_as_drawn_html(preview: Preview) -> None:
    state = await preview.state()
    assert [(tab["name"], tab["title"]) for tab in state["tabs"]] == [
        ("slack", "Slack"),
        ("digest", "Digest"),
    ]
    for entry in state["entries"]:
        assert entry["card"].startswith('<article class="card"><p class="meta">Fri ')
    (draft,) = state["digests"]
    assert "As it would be sent now" in draft["card"]
    assert '<iframe src="/preview/digests/0" sandbox="allow-same-origin"' in draft["card"]
    async with preview.session.get(f"{preview.service.url}/preview/digests/0") as answer:
        assert answer.status == 200
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "DiskWillFillIn4Days" in await answer.text()


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", "/preview/messages/999", None, 404),
        ("GET", "/preview/digests/9", None, 404),
        ("GET", "/?chanel=slack", None, 400),
        ("GET", "/?older=-1", None, 400),
        ("POST", "/preview/clock", b"text", 415),
        ("POST", "/preview/clock", {"to": "soon"}, 400),
        ("POST", "/preview/clock", {"to": 0}, 400),
    ],
)
async def test_refusals_of_the_preview_are_pages(
    preview: Preview, method: str, path: str, sent: Any, status: int
) -> None:
    async with preview.session.request(method, f"{preview.service.url}{path}", data=sent) as answer:
        assert answer.status == status
        assert "<h1>" in await answer.text()


async def test_the_first_page_of_a_preview_shows_messages_by_channel(preview: Preview) -> None:
    first = await preview.page("/")
    assert first.count('<article class="card">') == 2
    assert "HighErrorRate" in first
    assert 'href="/?channel=digest"' in first
    assert '<a href="/now"' in first
    digests = await preview.page("/?channel=digest")
    assert "As it would be sent now" in digests
    assert '<iframe src="/preview/digests/0"' in digests
    assert "<title>Messages" in await preview.page("/?channel=unknown")  # then the first channel is shown


async def test_more_messages_than_a_page_has_are_counted_and_linked(
    preview: Preview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_pages, "_CARDS_PER_PAGE", 1)
    first = await preview.page("/")
    assert "1 of 2 messages: the newest" in first
    assert 'href="/?channel=slack&amp;older=1"' in first
    second = await preview.page("/?channel=slack&older=1")
    assert "1 of 2 messages, without the newest 1" in second
    assert 'rel="next"' not in second


async def test_an_inhibitor_is_named_wherever_it_is_shown(preview: Preview) -> None:
    reason = 'inhibited by HighErrorRate{severity="critical"} (inhibit_rules[0])'
    decisions = (await preview.get("/api/v1/decisions?fate=inhibited"))["items"]
    (row,) = decisions
    assert row["reason"] == reason
    assert not HASH.search(str(row["reason"]))
    (row,) = (await preview.get("/api/v1/waiting?fate=inhibited"))["items"]
    assert row["note"]["words"].startswith(f"Not notified: {reason}, which fires since ")
    assert not HASH.search(row["note"]["words"])
