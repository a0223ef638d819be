"""The router's own errors reach Sentry, with what happened before, and without anything that is nobody's business."""

from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from router.channels.slack import SlackChannel
from router.metrics import Metrics
from router.model import MINUTE
from router.package import package_version
from router.store import Store
from tests.waiting import until
from tests.world.asking import metric_value, until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_sentry import FakeSentry
from tests.world.fake_server import http
from tests.world.planted import (
    PROVIDER_WORDS,
    fail_with_secrets,
    found_in,
    observe_logged_errors,
    post_planted,
)

pytestmark = pytest.mark.usefixtures("logs_restored")

DROPPED = 'alert_router_telemetry_dropped_total{kind="error",reason="failed"}'
Change = Callable[[str], str]


@pytest.fixture
async def sentry() -> AsyncIterator[FakeSentry]:
    observe_logged_errors()
    async with FakeSentry() as sentry:
        yield sentry


def with_sentry(sentry: FakeSentry, more: str = "environment: staging") -> Change:
    return lambda rules: f"{rules}sentry: {{dsn: '{sentry.dsn}', {more}}}\n"


async def is_dropped(world: World) -> bool:
    return await metric_value(world, DROPPED) > 0


async def test_an_event_says_which_code_failed_and_what_came_before(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start(with_sentry(sentry))
    await post_planted(world)
    await until_delivered(world, 3)
    monkeypatch.setattr(Metrics, "expose", fail_with_secrets)
    assert world.service is not None
    async with aiohttp.ClientSession() as session, session.get(f"{world.service.url}/metrics") as answer:
        assert answer.status == 500
    await sentry.until(lambda: bool(sentry.envelopes))
    (event,) = sentry.events
    assert event["tags"] == {"action": "request failed unexpectedly"}
    assert (event["environment"], event["release"]) == ("staging", f"alert-router@{package_version()}")
    cause, error = event["exception"]["values"]
    assert (cause["type"], error["type"]) == ("KeyError", "RuntimeError")
    assert error["stacktrace"]["frames"][-1]["function"] == "fail_with_secrets"
    assert error["stacktrace"]["frames"][0]["module"].startswith("router.web")
    decision, *deliveries = event["breadcrumbs"]["values"]
    assert decision["category"] == "decision"
    assert decision["data"] == {
        "source": "default", "webhook": decision["data"]["webhook"], "firing": 1, "resolved": 0, "decisions.send": 3,
    }  # fmt: skip
    assert {each["data"]["destination"] for each in deliveries} == {"oncall[0]", "oncall[1]", "oncall[2]"}
    assert {each["data"]["channel"] for each in deliveries} == {"pagerduty", "slack", "email"}
    assert all(each["data"]["outcome"] == "delivered" for each in deliveries)
    assert all(each["data"]["rules"].startswith("route.routes[") for each in deliveries)
    assert event["contexts"] == {"router": {"type": "router", "decision": 1, "delivery": 3, "error": 1}}


@pytest.mark.parametrize("method", ["render", "send"])
async def test_no_planted_text_leaves_when_a_channel_raises(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(SlackChannel, method, fail_with_secrets)
    world.pagerduty.fail(http(503, PROVIDER_WORDS))
    await world.start(with_sentry(sentry))
    await post_planted(world)
    await until_failed(world, "slack:C0CRITICAL")
    await sentry.until(lambda: bool(sentry.envelopes))
    await world.end()
    assert {each["tags"]["action"] for each in sentry.events} == {"channel raised"}
    assert found_in(b"".join(each.everything for each in sentry.envelopes)) == []
    crumbs = [crumb for each in sentry.events for crumb in each["breadcrumbs"]["values"]]
    assert crumbs, "there is something in which a text could have been"


async def test_an_event_has_no_other_keys_than_the_docs_list(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlackChannel, "render", fail_with_secrets)
    await world.start(with_sentry(sentry))
    await post_planted(world)
    await sentry.until(lambda: bool(sentry.envelopes))
    (event,) = sentry.events[:1]
    assert set(event) == {
        "event_id", "timestamp", "platform", "level", "logger", "release", "environment", "exception", "breadcrumbs",
        "tags", "contexts",
    }  # fmt: skip
    frames = [each for value in event["exception"]["values"] for each in value["stacktrace"]["frames"]]
    assert {key for each in frames for key in each} == {"module", "filename", "function", "lineno", "in_app"}
    assert not [each for each in frames if each["filename"].startswith("/")]


async def test_an_error_of_the_background_is_reported(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start(with_sentry(sentry))
    await world.at_rest()
    monkeypatch.setattr(Store, "balance", fail_with_secrets)
    world.clock.advance(MINUTE)
    await sentry.until(lambda: bool(sentry.envelopes))
    assert sentry.events[0]["tags"] == {"action": "maintenance failed unexpectedly"}
    assert sentry.events[0]["logger"] == "router.maintenance"


async def test_a_sentry_that_refuses_changes_nothing_but_a_count(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = SlackChannel.render
    monkeypatch.setattr(SlackChannel, "render", fail_with_secrets)
    sentry.fail(*[http(503)] * 100)
    await world.start(with_sentry(sentry))
    assert await post_planted(world) == 200
    await until_failed(world, "slack:C0CRITICAL")
    await until(lambda: is_dropped(world), "a lost event")
    monkeypatch.setattr(SlackChannel, "render", render)
    world.clock.advance(MINUTE)
    await until_delivered(world, 3)
    assert sentry.envelopes == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_counts_as_lost(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(SlackChannel, "render", fail_with_secrets)
    async with FakeSentry() as other:
        sentry.fail(http(status, Location=f"{other.url}/api/42/envelope/"))
        await world.start(with_sentry(sentry))
        await post_planted(world)
        await until_failed(world, "slack:C0CRITICAL")
        await until(lambda: is_dropped(world), "a lost event")
        assert (other.envelopes, other.refusals) == ([], [])


async def test_what_waits_is_sent_when_the_service_stops(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlackChannel, "render", fail_with_secrets)
    await world.start(with_sentry(sentry))
    await post_planted(world)
    await until_failed(world, "slack:C0CRITICAL")
    await world.end()
    assert sentry.envelopes


async def test_no_error_is_sent_with_a_sample_rate_of_zero(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlackChannel, "render", fail_with_secrets)
    await world.start(with_sentry(sentry, "sample_rate: 0"))
    await post_planted(world)
    await until_failed(world, "slack:C0CRITICAL")
    await world.end()
    assert sentry.envelopes == []


async def test_a_reload_switches_sentry_on_and_off(
    world: World, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlackChannel, "render", fail_with_secrets)
    await world.start()
    await post_planted(world)
    await until_failed(world, "slack:C0CRITICAL")
    assert sentry.envelopes == []
    status, _ = await world.reload(with_sentry(sentry, "server_name: router-1"))
    assert status == 200
    world.clock.advance(MINUTE)
    await sentry.until(lambda: bool(sentry.envelopes))
    assert sentry.events[0]["server_name"] == "router-1"
    status, _ = await world.reload(lambda rules: rules)
    assert status == 200
    await world.at_rest()
    count = len(sentry.envelopes)
    failed = 2
    world.clock.advance(5 * MINUTE)
    await until_failed(world, "slack:C0CRITICAL", failed + 1)
    await world.end()
    assert len(sentry.envelopes) == count
