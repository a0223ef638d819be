"""How each destination is, in words: over the API, and on pages."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import aiohttp

from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import SLACK, run_deliveries_command, until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_slack import error, rate_limited
from tests.world.fake_slack import http as slack_http

LIST = "/api/v1/destinations"


async def one(world: World, key: str = SLACK) -> dict[str, Any]:
    found: dict[str, Any] = await world.get(f"{LIST}/{quote(key, safe='')}")
    return found


async def page(world: World, path: str) -> str:
    return "\n".join(await world.get(path))


def title(html: str) -> str:
    return unescape(html.partition("<title>")[2].partition("</title>")[0])


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


async def status_of(world: World, path: str) -> int:
    assert world.service is not None
    async with aiohttp.ClientSession() as session, session.get(f"{world.service.url}{path}") as answer:
        return answer.status


async def test_a_destination_without_deliveries_is_unused(world: World) -> None:
    await world.start(
        lambda rules: rules.replace("  daily:", "  spare: [slack: {channel: C0SPARE}]\n  daily:")
    )
    assert (await one(world))["words"] == "unused: nothing was sent to it yet"
    assert (await one(world, "slack:C0SPARE"))["words"] == "unused: no route sends to it"


async def test_a_delivery_makes_a_destination_healthy(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    assert (await one(world))["words"] == "healthy: last delivered just now"
    world.clock.advance(5 * MINUTE)
    found = await one(world)
    assert (found["state"], found["words"], found["advice"]) == (
        "healthy",
        "healthy: last delivered 5 min ago",
        None,
    )
    assert found["last_success"] == world.clock.now() - 5 * MINUTE
    await world.stop()
    await world.start()
    assert (await one(world))["words"] == "healthy: last delivered 5 min ago", "also after a restart"


async def test_failing_begins_with_the_first_failed_attempt(world: World) -> None:
    await world.start()
    await world.post("First", "critical")
    await until_delivered(world, 3)
    world.clock.advance(HOUR)
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    found = await one(world)
    assert (found["state"], found["since"]) == ("failing", world.clock.now())
    for _ in range(70):
        world.clock.advance(SECOND)
        await world.at_rest()
    found = await one(world)
    words = re.sub(r"next try in \d+ s", "next try in N s", found["words"])
    assert words == (
        'failing since 13:00 (1 min); Slack: "http 503"; last success 12:00; next try in N s; 1 message waits, for 1 min'
    )
    assert found["next_try"] > world.clock.now()
    assert found["last_failure"]["reason"] == "http 503"
    html = await page(world, "/destinations")
    assert title(html).startswith("⚠ slack:C0CRITICAL has been failing for 1 min: http 503 · ")
    assert "since 13:00 (1 min)" in text(html)


async def test_failures_within_a_minute_are_in_no_title(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    assert title(await page(world, "/destinations")) == "Destinations · Alert router"
    assert (await one(world))["state"] == "failing"


async def test_a_failing_destination_keeps_its_words_over_a_restart(world: World) -> None:
    await world.start()
    await world.post("First", "critical")
    await until_delivered(world, 3)
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    world.clock.advance(10 * MINUTE)
    await world.end()
    await world.start()
    found = await one(world)
    assert found["words"].startswith('failing since 12:00 (10 min); Slack: "http 503"; last success 12:00; ')


async def test_a_broken_destination_says_what_to_do(world: World) -> None:
    await world.start()
    world.slack.fail(*[error("channel_not_found")] * 100)
    await world.post("Down", "critical")
    await until_delivered(world, 2)
    assert world.service is not None
    while (await one(world))["state"] != "broken":
        await world.service.store.ready()
    found = await one(world)
    assert found["words"] == (
        'broken since 12:00 (0 s); Slack: "channel_not_found"; no success among its last attempts; next try in 1 min; 1 message waits, for 0 s'
    )
    assert found["advice"] == "Correct this at the provider or in routes.yaml, then resume the destination."
    assert found["empty_at"] is None
    html = await page(world, "/destinations")
    assert title(html).startswith("⚠ slack:C0CRITICAL has been broken for 0 s: channel_not_found · ")
    assert 'href="/destinations/slack%3AC0CRITICAL"' in html
    listed = await world.get(LIST)
    assert listed["items"][0]["key"] == SLACK, "the most urgent first"
    world.slack.recover()
    assert (await run_deliveries_command(world, "resume", SLACK)).exit_code == 0
    assert (await one(world))["state"] == "healthy"


async def test_a_rate_limit_is_no_failure(world: World) -> None:
    await world.start()
    world.slack.fail(rate_limited(600))
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    world.clock.advance(3 * MINUTE)
    found = await one(world)
    assert found["state"] == "rate limited"
    assert found["words"].startswith("rate limited: paused until 12:10 (for 7 min); Slack: ")
    assert found["paused_until"] == world.clock.now() + 7 * MINUTE
    assert found["next_try"] == found["paused_until"]
    assert title(await page(world, "/destinations")) == "Destinations · Alert router"


async def test_a_backlog_says_how_long_it_takes(world: World) -> None:
    """Slack takes one message a second; a pause collects them."""
    await world.start()
    world.slack.fail(rate_limited(60))
    await world.post("First", "critical")
    await until_failed(world, SLACK)
    for number in range(29):
        await world.post(f"Down{number}", "critical")
    world.clock.advance(30 * SECOND)
    found = await one(world)
    assert found["backlog"] == 30
    assert "30 messages wait, the oldest for 30 s" in found["words"]
    assert found["empty_at"] == found["paused_until"] + 30 * SECOND


async def test_a_destination_that_left_the_rules_waits_for_its_ends(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.post("Full", "critical")
    await until_delivered(world, 6)
    await world.reload(lambda rules: rules.replace("    - slack: {channel: C0CRITICAL}\n", ""))
    found = await one(world)
    assert not found["is_in_rules"]
    assert found["receivers"] == []
    assert found["words"].endswith("; no longer in routes.yaml, has yet to be notified of 2 ends")
    await world.post("Down", "critical", "resolved")
    await until_delivered(world, 9)
    assert (await one(world))["unsent_ends"] == 1


async def test_destinations_are_filtered_and_paged(world: World) -> None:
    many = "".join(f"    - slack: {{channel: C0{number:04}}}\n" for number in range(120))
    await world.start(lambda rules: rules.replace("  team:\n", f"  team:\n{many}"))
    found, cursor, first = [], None, await world.get(f"{LIST}?limit=50")
    while True:
        answer = await world.get(f"{LIST}?limit=50" + (f"&cursor={cursor}" if cursor else ""))
        found += [each["key"] for each in answer["items"]]
        if (cursor := answer["next"]) is None:
            break
    assert len(found) == len(set(found)) == first["total"] == 126
    assert first["states"]["unused"] == 126
    slack = await world.get(f"{LIST}?channel=slack&receiver=oncall")
    assert [each["key"] for each in slack["items"]] == [SLACK]
    assert (await world.get(f"{LIST}?search=C00007"))["total"] == 1
    assert (await world.get(f"{LIST}?state=broken&state=failing"))["total"] == 0
    html = await page(world, "/destinations?state=unused&limit=100")
    assert "this page has 100" in html
    assert "state=unused" in html.partition('rel="next"')[2].partition(">")[0]
    for wrong in ("?stat=broken", "?state=brokn", "?cursor=bm8", "?limit=0", "?channel=a&channel=b"):
        assert await status_of(world, LIST + wrong) == 400, wrong
    assert await status_of(world, "/destinations?state=&channel=&receiver=&search=") == 200, "an empty form"


async def test_odd_keys_and_names_are_found_and_shown_harmlessly(world: World) -> None:
    odd = '"</title><script>alert(1)</script>/../%2F?#&\u202e"'
    await world.start(
        lambda rules: rules.replace("  daily:", f"  {odd}:").replace("receiver: daily", f"receiver: {odd}")
    )
    (digest,) = [each for each in (await world.get(LIST))["items"] if each["channel"] == "digest"]
    assert digest["key"].startswith("digest:</title>")
    assert (await one(world, digest["key"]))["key"] == digest["key"]
    path = f"/destinations/{quote(digest['key'], safe='')}"
    for html in (await page(world, "/destinations"), await page(world, path)):
        assert "<script>alert" not in html
        assert "\u202e" not in html
    assert f'href="{path}"' in await page(world, "/destinations")
    assert await status_of(world, "/destinations/slack:NOWHERE") == 404
    assert await status_of(world, f"{LIST}/slack:NOWHERE") == 404


async def send_form(world: World, path: str) -> tuple[int, str]:
    """Post an empty form as the page does, and return the status and where it leads."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{world.service.url}{path}",
            data={},
            allow_redirects=False,
            headers={"Sec-Fetch-Site": "same-origin"},
        ) as answer,
    ):
        return answer.status, answer.headers.get("Location", "")


async def test_an_operator_pauses_and_resumes_on_the_page(world: World) -> None:
    await world.start()
    await world.post("First", "critical")
    await until_delivered(world, 3)
    here = "/destinations/slack%3AC0CRITICAL"
    assert await send_form(world, f"{here}/pause") == (303, f"{here}?done=paused")
    html = await page(world, f"{here}?done=paused")
    assert "The destination is paused." in html
    assert "Pause: send nothing" not in html
    world.clock.advance(10 * MINUTE)
    await world.post("Down", "critical")
    await until_delivered(world, 5)
    found = await one(world)
    assert found["words"] == ("paused by this machine since 12:00 (10 min); 1 message waits, for 0 s")
    assert (found["state"], found["next_try"], found["empty_at"]) == ("paused", None, None)
    assert found["advice"] == "Nothing is sent until it is resumed."
    assert title(await page(world, "/destinations")).startswith(
        "⚠ 1 destination is paused by operators: slack:C0CRITICAL"
    )
    assert await send_form(world, f"{here}/resume") == (303, f"{here}?done=resumed")
    assert (await one(world))["state"] == "healthy"
    assert (await send_form(world, "/destinations/slack%3ANOWHERE/pause"))[0] == 404
    assert [each["action"] for each in (await world.get("/api/v1/actions"))["items"]][1:] == [
        "resume destination", "pause destination",
    ]  # fmt: skip


async def test_the_page_now_has_trouble_first_and_folds_the_others(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    await until_delivered(world, 2)
    panel = (await page(world, "/now")).partition('id="destinations"')[2].partition("</section>")[0]
    before, _, folded = panel.partition("<details")
    assert "since 12:00 (0 s); Slack:" in text(before)
    assert 'action="/destinations/slack%3AC0CRITICAL/resume"' in before
    assert "2 healthy, 3 unused" in text(folded)
    assert "Email oncall@example.com" in text(folded)
