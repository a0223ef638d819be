"""Digests for operators: what the next one says, and what became of the last ones."""

import json
from typing import Any

import aiohttp
import pytest

from router.model import DAY, HOUR, MINUTE
from router.web.api.cursors import encode_cursor
from tests.world.conftest import World
from tests.world.fake_smtp import answer

NEXT, PAST = "/api/v1/digests/digest:daily/next", "/api/v1/digests/digest:daily/past"
HOSTILE = "<script>alert(1)</script> \u202e javascript:alert(1)"


async def response(world: World, path: str, **parameters: Any) -> tuple[int, str, dict[str, str]]:
    assert world.service is not None
    address = f"{world.service.url}{path}"
    async with aiohttp.ClientSession() as session, session.get(address, params=parameters) as found:
        return found.status, await found.text(), dict(found.headers)


async def got(world: World, path: str, **parameters: Any) -> Any:
    status, text, _ = await response(world, path, **parameters)
    assert status == 200, text
    return json.loads(text)


async def page(world: World, **parameters: Any) -> str:
    status, html, _ = await response(world, "/digests", **parameters)
    assert status == 200
    return html


async def next_days(world: World, days: int) -> None:
    """Let days pass, each with its digest."""
    for _ in range(days):
        world.clock.advance(DAY)
        await world.at_rest()


async def test_an_empty_digest_is_said_to_be_empty_and_not_sent(world: World) -> None:
    await world.start()
    digest = (await got(world, "/api/v1/digests"))["items"][0]
    assert (digest["destination"], digest["sends_empty"], digest["late"], digest["latest"]) == (
        "digest:daily",
        False,
        [],
        [],
    )
    assert digest["schedule"] == {"at": "08:00", "weekdays": [], "zone": "UTC"}
    assert digest["next_slot"] == world.clock.now() + 20 * HOUR
    draft = await got(world, NEXT)
    assert (draft["is_empty"], draft["is_sent"]) == (True, False)
    html = await page(world)
    assert "It has nothing to report so far. An empty digest is not sent." in html
    assert "None yet." in html


async def test_the_draft_says_what_the_digest_will_say(world: World) -> None:
    await world.start()
    await world.post("DiskFull", "info", note=HOSTILE)
    await world.post("Slow", "info")
    draft = await got(world, NEXT)
    assert (draft["counts"]["firing"], draft["is_sent"]) == (2, True)
    assert (await got(world, "/api/v1/digests"))["items"][0]["next"]["alerts"] == 2
    html = await page(world)
    assert "It reports 2 firing alerts" in html
    assert "<script>alert" not in html
    await next_days(world, 1)
    (mail,) = world.smtp.mails
    assert mail.subject.partition(": ")[2] == draft["subject"].partition(": ")[2]
    (sent,) = (await got(world, PAST))["items"]
    assert (sent["outcome"], sent["alerts"], sent["is_dead"], sent["has_message"]) == (
        "delivered",
        2,
        False,
        True,
    )
    assert f'href="/deliveries/{sent["delivery"]}"' in await page(world)
    after = await got(world, NEXT)
    assert (after["since"], after["counts"]["firing"]) == (sent["slot"], 2)


async def test_the_frame_of_a_draft_runs_nothing(world: World) -> None:
    await world.start()
    await world.post("DiskFull", "info", note=HOSTILE)
    status, document, headers = await response(world, "/digests/digest:daily/next/message")
    assert (status, "DiskFull" in document, "<script" in document) == (200, True, False)
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert 'src="/digests/digest%3Adaily/next/message"' in await page(world)


async def test_sent_digests_come_in_pages(world: World) -> None:
    await world.start()
    await world.post("DiskFull", "info")
    await next_days(world, 5)
    slots: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        some = await got(world, PAST, limit=2, **cursor)
        assert some["total"] == 5
        slots += [each["slot"] for each in some["items"]]
        if some["next"] is None:
            break
        cursor = {"cursor": some["next"]}
    assert slots == sorted(set(slots), reverse=True)
    assert len(slots) == 5
    latest = (await got(world, "/api/v1/digests"))["items"][0]["latest"]
    assert [each["slot"] for each in latest] == slots[:3]


async def test_a_digest_that_is_late_is_reported_with_its_next_try(world: World) -> None:
    await world.start()
    await world.post("DiskFull", "info")
    world.smtp.fail(*[answer("451 later", at="MAIL")] * 1_000)
    await next_days(world, 1)
    digest = (await got(world, "/api/v1/digests"))["items"][0]
    (late,) = digest["late"]
    assert (late["is_late"], late["failed_attempts"] > 0, late["next_at"] > world.clock.now()) == (
        True,
        True,
        True,
    )
    (attempt,) = digest["latest"]
    assert (attempt["outcome"], "451 later" in attempt["words"]) == ("retry", True)
    html = await page(world)
    assert "is not sent" in html
    assert "451 later" in html


async def test_a_digest_that_was_given_up_is_a_dead_letter(world: World) -> None:
    await world.start(lambda rules: rules.replace("email: {smart", "email: {give_up_after: 1h, smart"))
    await world.post("DiskFull", "info")
    world.smtp.refuse_content = lambda _mail: "554 5.7.1 spam"
    await next_days(world, 1)
    for _ in range(8):
        world.clock.advance(20 * MINUTE)
        await world.at_rest()
    (sent,) = (await got(world, PAST))["items"]
    assert sent["is_dead"]
    assert (await got(world, "/api/v1/digests"))["items"][0]["late"] == []
    assert "dead letter" in await page(world)


@pytest.mark.parametrize("key", ["digest:none", "slack:C0CRITICAL", "<b>"])
async def test_what_is_no_digest_is_not_found(world: World, key: str) -> None:
    await world.start()
    for path in (
        f"/api/v1/digests/{key}/next",
        f"/api/v1/digests/{key}/past",
        f"/digests/{key}/next/message",
    ):
        assert (await response(world, path))[0] == 404
    status, html, _ = await response(world, "/digests", digest=key)
    assert (status, "<b>" in html) == (404, False)


@pytest.mark.parametrize(
    "wrong", [{"limit": "0"}, {"colour": "1"}, {"cursor": "x"}, {"cursor": encode_cursor(("a",)) or ""}]
)
async def test_the_lists_of_digests_refuse_what_they_do_not_know(world: World, wrong: dict[str, str]) -> None:
    await world.start()
    for path in ("/api/v1/digests", PAST):
        assert (await response(world, path, **wrong))[0] == 400


async def test_rules_without_a_digest_say_so(world: World) -> None:
    def without(rules: str) -> str:
        kept = [line for line in rules.splitlines() if "daily" not in line and "digest" not in line]
        return "\n".join(kept).replace("{severity: info, receiver: daily}", "")

    await world.start(without)
    assert (await got(world, "/api/v1/digests"))["items"] == []
    assert "The rules have no digest" in await page(world)
