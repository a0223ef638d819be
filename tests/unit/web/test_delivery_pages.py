"""Deliveries and dead letters over HTTP: filters, pages of lists, details, hostile texts, and the forms that settle."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from router.channels import REGISTRY
from router.clock import SystemClock
from router.decide import Policy
from router.model import HOUR, Delivered, Destination, Outcome, Rejected, Retry, Status
from router.store import ClaimedDelivery
from tests.unit.core.world import alert, webhook
from tests.unit.web.harness import POLICY, SLACK, Client, Serve, WebHarness

MAIL = Destination("email:team@example.com", "email", None)
BOTH: Policy = replace(POLICY, receivers={"team": (SLACK, MAIL)})
NOW = SystemClock().now()
HOSTILE = (
    "<script>document.title='run'</script>", '"><img src=x onerror=alert(1)>', "</pre></details><h1>x</h1>",
    "javascript:alert(1)", "{{ 7 * 7 }} {% raw %}", "a\u202eb\u2066c", "x\x00\x07\x1b[31m\x7f", "\ud800 lone", "é" * 50_000,
)  # fmt: skip


async def sent(
    harness: WebHarness,
    name: str,
    outcome: Outcome,
    *,
    level: str = "critical",
    destination: Destination = SLACK,
    body: Any = None,
    at: int = NOW,
) -> int:
    """Deliver an alert in a group of its own, and return the id of the delivery."""
    store, policy = harness.store, harness.policy()
    await store.accept(webhook(alert(name, level), group=name), "default", b"{}", policy, at)
    work = await store.claim(destination, policy, at)
    assert isinstance(work, ClaimedDelivery)
    kept = None if body is None else json.dumps({"channel": destination.channel, "body": body}).encode()
    await store.record(work, outcome, policy, at, at + 100 * HOUR, kept)
    return work.delivery


async def answer(client: Client, path: str, status: int = 200) -> Any:
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        return await response.json(content_type=None) if path.startswith("/api") else (await response.text())


async def listed(client: Client, query: str = "") -> list[str]:
    """Return the names of the first alerts of the deliveries that a filter finds."""
    found = await answer(client, f"/api/v1/deliveries?{query}")
    assert found["total"] == len(found["items"])
    return [each["topic"]["names"][0] for each in found["items"]]


async def posted(client: Client, path: str, fields: dict[str, str]) -> str:
    """Post a form, and return where it leads to."""
    async with client.post(path, data=fields, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
        return response.headers["Location"]


async def test_deliveries_are_found_by_each_filter(harness: WebHarness, serve: Serve) -> None:
    harness.policy = lambda: BOTH
    client = await serve(harness)
    await sent(harness, "Old", Delivered(), at=NOW - 50 * HOUR)
    await sent(harness, "OldFailed", Retry("http 503"), at=NOW - 49 * HOUR)
    await sent(harness, "Failed", Retry("http 503", words="try later"), at=NOW - 2 * HOUR)
    await sent(harness, "Refused", Rejected("http 400"), at=NOW - HOUR)
    last = await sent(harness, "New", Delivered(), at=NOW)
    assert await listed(client) == ["New", "Refused", "Failed", "OldFailed", "Old"]
    assert await listed(client, "outcome=failed&since=1d") == ["Refused", "Failed"]
    assert await listed(client, "outcome=rejected&outcome=delivered") == ["New", "Refused", "Old"]
    assert await listed(client, f"since={NOW - 2 * HOUR}&until={NOW}") == ["Refused", "Failed"]
    assert await listed(client, f"destination={MAIL.key}&outcome=failed") == []
    assert await listed(client, f"destination={MAIL.key}&destination={SLACK.key}&until=2d") == [
        "OldFailed",
        "Old",
    ]
    found = await answer(client, f"/api/v1/deliveries/{last}")
    assert await listed(client, f"alert={found['alerts'][0]['id']}") == ["New"]
    assert await listed(client, f"conversation={found['conversation']}&outcome=failed") == []
    assert (found["receivers"], found["topic"]["level"], found["duration"]) == (["team"], "critical", 0)
    (failed,) = (await answer(client, "/api/v1/deliveries?outcome=retry&since=1d"))["items"]
    assert (failed["words"], failed["next_try"]) == ("try later", NOW + 98 * HOUR)


async def test_a_list_over_many_pages_has_each_delivery_once(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    for number in range(7):
        await sent(harness, f"A{number}", Delivered() if number % 2 else Retry("http 503"), at=NOW + number)
    for query in ("", "&outcome=failed", "&outcome=delivered", f"&destination={SLACK.key}"):
        names: list[str] = []
        path = f"/api/v1/deliveries?limit=2{query}"
        cursor = ""
        while True:
            page = await answer(client, path + cursor)
            names += [each["topic"]["names"][0] for each in page["items"]]
            assert len(page["items"]) <= 2
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert len(names) == len(set(names)) == page["total"]
        assert names == sorted(names, reverse=True)
    shown = await answer(client, "/deliveries?limit=2&outcome=failed&since=")
    assert "4 deliveries; this page has 2" in shown
    (following,) = re.findall(r'<a rel="next" href="/deliveries\?([^"]+)"', shown)
    assert {"limit=2", "outcome=failed"} < set(following.split("&amp;"))


@pytest.mark.parametrize(
    "query",
    ["outcom=failed", "outcome=lost", "since=yesterday", "since=", "cursor=WzEsMl0", "limit=0", "limit=501", "alert=0",
     "alert=9223372036854775808", "until=1&until=2", "&".join(f"destination={number}" for number in range(21))],
)  # fmt: skip
async def test_a_wrong_parameter_is_named(query: str, harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    problem = await answer(client, f"/api/v1/deliveries?{query}", 400)
    assert problem["errors"][0]["parameter"].split(".")[0] in query


async def test_hostile_texts_are_shown_harmlessly(harness: WebHarness, serve: Serve) -> None:
    harness.policy = lambda: BOTH
    client = await serve(harness)
    for text in HOSTILE:
        harmless = text.encode(errors="replace").decode()
        words = harmless.replace("\x00", "")
        body = {
            "text": harmless,
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": harmless}}],
        }
        number = await sent(
            harness, harmless.replace("\x00", "") or "x", Rejected("http 400", words=words), body=body
        )
        for path in (f"/deliveries/{number}", "/deliveries", "/dead-letters"):
            shown = await answer(client, path)
            assert "<script>document" not in shown
            assert "<img" not in shown
            assert "<h1>x" not in shown
            assert 'href="javascript' not in shown
            assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", shown)
            assert len(shown) < 600_000
    assert "characters)" in await answer(client, "/deliveries")


async def test_a_mail_is_shown_in_a_frame_that_runs_nothing(harness: WebHarness, serve: Serve) -> None:
    harness.policy = lambda: BOTH
    client = await serve(harness)
    body = {
        "to": ["a@example.com"],
        "subject": "Down",
        "text": "plain",
        "html": "<p>Down</p>",
        "message_id": "<1@x>",
    }
    number = await sent(harness, "Down", Delivered(), destination=MAIL, body=body)
    shown = await answer(client, f"/deliveries/{number}")
    assert f'<iframe src="/deliveries/{number}/message" sandbox="allow-same-origin"' in shown
    async with client.get(f"/deliveries/{number}/message") as response:
        assert await response.text() == "<p>Down</p>"
        assert "sandbox allow-same-origin;" in response.headers["Content-Security-Policy"]
        assert "allow-scripts" not in response.headers["Content-Security-Policy"]
    other = await sent(harness, "Other", Delivered(), body={"text": "x"})
    assert "has no HTML" in await answer(client, f"/deliveries/{other}/message", 404)


@pytest.mark.parametrize("channel", sorted(REGISTRY))
async def test_a_message_that_cannot_be_drawn_is_shown_as_sent(
    channel: str, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    destination = replace(SLACK, channel=channel)
    harness.policy = lambda: replace(POLICY, receivers={"team": (destination,)})
    for number, body in enumerate(({}, {"blocks": [1], "messages": 7, "html": 3, "attachments": "x"})):
        id_ = await sent(harness, f"A{number}", Delivered(), destination=destination, body=body)
        assert "As it was sent" in await answer(client, f"/deliveries/{id_}")


async def test_a_missing_message_is_explained(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    pruned = await sent(harness, "Pruned", Delivered())
    assert "was pruned (retention.messages" in await answer(client, f"/deliveries/{pruned}")
    await harness.store.accept(webhook(alert("A", "critical"), group="A"), "default", b"{}", POLICY, NOW)
    work = await harness.store.claim(SLACK, POLICY, NOW)
    assert isinstance(work, ClaimedDelivery)
    assert "kept when the attempt has ended" in await answer(client, f"/deliveries/{work.delivery}")
    await harness.store.start(NOW)
    assert "ended during this attempt" in await answer(client, f"/deliveries/{work.delivery}")
    await answer(client, "/deliveries/999", 404)
    await answer(client, "/api/v1/deliveries/999", 404)


async def test_the_attempts_of_a_conversation_are_linked(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    first = await sent(harness, "Down", Retry("http 503"))
    work = await harness.store.claim(SLACK, POLICY, NOW + 100 * HOUR)
    assert isinstance(work, ClaimedDelivery)
    await harness.store.record(work, Delivered(), POLICY, NOW + 100 * HOUR, NOW)
    found = [await answer(client, f"/api/v1/deliveries/{number}") for number in (first, work.delivery)]
    assert [(each["before"], each["after"]) for each in found] == [(None, work.delivery), (first, None)]
    assert [(each["attempt"], each["next_try"]) for each in found] == [(1, None), (2, None)]


async def test_the_chart_has_each_hour_as_a_bar_and_in_its_table(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    for number in range(3):
        await sent(harness, f"A{number}", Delivered())
    await sent(harness, "B", Retry("http 503"))
    found = await answer(client, "/api/v1/deliveries/hours")
    assert len(found["hours"]) == 48
    assert sum(each["outcomes"].get("delivered", 0) for each in found["hours"]) == 3
    assert len((await answer(client, "/api/v1/deliveries/hours?since=30d"))["hours"]) == 30 * 24 + 1
    assert "at most 31 days" in (await answer(client, "/api/v1/deliveries/hours?since=60d", 400))["detail"]
    assert (
        "in the future" in (await answer(client, "/api/v1/deliveries/hours?since=2100-01-01", 400))["detail"]
    )
    shown = await answer(client, "/deliveries")
    assert "3 delivered and 1 failed in 48 hours; at most" in shown
    assert 'style="' not in shown


async def dead(harness: WebHarness, name: str, level: str = "critical", at: int = NOW) -> int:
    """Give an alert up, and return the id of its dead letter."""
    await sent(harness, name, Rejected("http 400"), level=level, at=at)
    return max(id_ for _, id_ in await harness.store.pages.unsettled_ids((), None, 500))


async def letters(client: Client, query: str = "") -> list[str]:
    found = await answer(client, f"/api/v1/dead-letters?{query}")
    return [each["topic"]["names"][0] for each in found["items"]]


async def test_the_most_urgent_dead_letters_come_first(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    for name, level in (
        ("I1", "info"),
        ("C1", "critical"),
        ("W1", "warning"),
        ("C2", "critical"),
        ("I2", "info"),
    ):
        await dead(harness, name, level)
    order = ["C2", "C1", "W1", "I2", "I1"]
    assert await letters(client) == order
    assert await letters(client, f"destination={SLACK.key}") == order
    assert await letters(client, "destination=slack:OTHER") == []
    found, cursor = [], ""
    while True:
        page = await answer(client, f"/api/v1/dead-letters?limit=2{cursor}")
        assert page["total"] == 5
        found += [each["topic"]["names"][0] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == order


async def test_a_dead_letter_is_retried_and_discarded_by_its_buttons(
    harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    first, second = await dead(harness, "A"), await dead(harness, "B")
    assert await posted(client, f"/dead-letters/{first}/retry", {}) == "/dead-letters?done=retried"
    assert harness.woken == {SLACK.key}
    assert "It is tried again now." in await answer(client, "/dead-letters?done=retried")
    confirm = await answer(client, f"/dead-letters/{second}/discard")
    assert "Discard 1 dead letter?" in confirm
    assert (await answer(client, f"/api/v1/dead-letters/{second}"))[
        "state"
    ] == "dead"  # asking changes nothing
    assert await posted(client, f"/dead-letters/{second}/discard", {}) == "/dead-letters?done=discarded"
    assert await letters(client) == []
    async with client.post(f"/dead-letters/{second}/retry") as response:
        assert response.status == 404
    done = (await answer(client, "/api/v1/actions"))["items"]
    assert [(each["action"], each["target"], each["outcome"]) for each in done] == [
        ("retry", f"dead letter {second}", "refused"),
        ("discard", f"dead letter {second}", "done"),
        ("retry", f"dead letter {first}", "done"),
    ]


async def test_selected_dead_letters_are_settled_together(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    ids = [await dead(harness, name) for name in "ABC"]
    fields = {f"letter.{ids[0]}": "1", f"letter.{ids[1]}": "1", "letter.999999": "1", "do": "retry"}
    where = await posted(client, "/dead-letters/several", fields)
    shown = await answer(client, where)
    assert "2 are tried again now. 1 were skipped: there is no such open dead letter" in shown
    assert await letters(client) == ["C"]
    async with client.post("/dead-letters/several", data={"do": "retry"}) as response:
        assert response.status == 400
        assert "no dead letter is selected" in await response.text()


async def test_all_dead_letters_of_a_filter_are_settled_in_pieces(
    harness: WebHarness, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.web.api.dead_letter_endpoints.MAX_SETTLED", 3)
    monkeypatch.setattr("router.web.api.dead_letter_endpoints._SETTLED_AT_ONCE", 2)
    client = await serve(harness)
    for number in range(5):
        await dead(harness, f"A{number}")
    fields = {"all": "1", "destination.0": SLACK.key, "do": "discard"}
    async with client.post("/dead-letters/several", data=fields) as response:
        confirm = await response.text()
    assert "Discard 5 dead letters?" in confirm
    assert len(await letters(client)) == 5
    where = await posted(client, "/dead-letters/several", {**fields, "confirmed": "1"})
    assert "3 are discarded; nothing is sent for them. 2 are left" in await answer(client, where)
    async with client.post("/api/v1/dead-letters/retry", json={"all": True}) as response:
        assert await response.json() == {
            "done": 2, "skipped": 0, "first_skipped": [], "left": 0, "left_is_exact": True,
        }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": [1], "all": True},
        {"ids": [1], "destination": ["x"]},
        {"ids": ["x"]},
        {"all": "yes"},
        {"ids": [0]},
    ],
)
async def test_an_unclear_choice_of_dead_letters_is_refused(
    body: dict[str, Any], harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    async with client.post("/api/v1/dead-letters/retry", json=body) as response:
        assert response.status == 400


async def test_a_dead_letter_shows_its_first_alerts_and_counts_the_rest(
    harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    several = webhook(*(alert(f"N{number:04}", "critical") for number in range(600)), group="many")
    await harness.store.accept(several, "default", b"{}", POLICY, NOW)
    work = await harness.store.claim(SLACK, POLICY, NOW)
    assert isinstance(work, ClaimedDelivery)
    await harness.store.record(work, Rejected("http 400"), POLICY, NOW, NOW)
    (found,) = (await answer(client, "/api/v1/dead-letters"))["items"]
    assert (len(found["alerts"]), found["alerts_total"]) == (10, 600)
    whole = await answer(client, f"/api/v1/dead-letters/{found['id']}")
    assert (len(whole["alerts"]), whole["alerts_total"]) == (500, 600)
    assert "and 597 more" in await answer(client, "/dead-letters")
    assert "The first 500 of 600." in await answer(client, f"/dead-letters/{found['id']}")
    detail = await answer(client, f"/api/v1/deliveries/{work.delivery}")
    assert (len(detail["alerts"]), detail["alerts_total"], detail["topic"]["alerts"]) == (100, 600, 600)
    assert whole["alerts"][0]["unnotified"] == Status.FIRING
