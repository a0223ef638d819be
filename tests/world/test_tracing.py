"""A trace leads from the webhook to each delivery, and says what was decided, and nothing that is nobody's business."""

from collections.abc import AsyncIterator, Callable

import pytest

from router.channels.slack import SlackChannel
from router.model import HOUR, MINUTE
from router.package import package_version
from tests.waiting import until
from tests.world.asking import metric_value, until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_collector import FakeCollector, SeenSpan
from tests.world.fake_pagerduty import http as pagerduty_http
from tests.world.fake_server import Fault, http
from tests.world.fake_webhook import FakeWebhook
from tests.world.planted import PROVIDER_WORDS, fail_with_secrets, found_in, post_planted
from tests.world.test_programs import with_archive

# https://www.w3.org/TR/trace-context/#examples-of-http-traceparent-headers
TRACE, SENDER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SENDER_SPAN}-01", "tracestate": "congo=t61rcWkgMzE"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{SENDER_SPAN}-00"}
CHANNELS = ("pagerduty", "slack", "email")
Change = Callable[[str], str]


@pytest.fixture
async def collector() -> AsyncIterator[FakeCollector]:
    async with FakeCollector() as collector:
        yield collector


def with_tracing(collector: FakeCollector, more: str = "sample_rate: 1") -> Change:
    return lambda rules: f"{rules}tracing: {{endpoint: '{collector.url}', {more}}}\n"


def deliveries(collector: FakeCollector) -> list[SeenSpan]:
    return [span for channel in CHANNELS for span in collector.named(f"deliver {channel}")]


async def test_a_trace_leads_from_the_webhook_to_three_deliveries(
    world: World, collector: FakeCollector
) -> None:
    await world.start(with_tracing(collector, "sample_rate: 1, environment: staging, resource: {team: sre}"))
    assert await post_planted(world) == 200
    await until_delivered(world, 3)
    await world.stop()
    (receive,), (decide,) = collector.named("POST /webhook"), collector.named("decide")
    assert (receive.kind, receive.parent) == ("SERVER", "")
    assert receive.attributes["http.response.status_code"] == 200
    assert receive.attributes["alert_router.source"] == "default"
    assert receive.attributes["alert_router.firing"] == 1
    assert decide.parent == receive.id
    assert decide.attributes == {"alert_router.decisions.send": 3}
    assert [
        (each["alert_router.destination"], each["alert_router.decision"], each["alert_router.alerts"])
        for each in decide.events
    ] == [(f"oncall[{number}]", "send", 1) for number in range(3)]
    sent = deliveries(collector)
    assert len(sent) == 3
    assert {(each.trace, each.parent, each.kind) for each in sent} == {
        (receive.trace, receive.id, "PRODUCER")
    }
    for each in sent:
        assert each.attributes["alert_router.decision"] == "send"
        assert each.attributes["alert_router.outcome"] == "delivered"
        assert each.attributes["alert_router.rules"].startswith("route.routes[")
        assert each.attributes["alert_router.attempt"] == 1
    calls = [call for channel in CHANNELS for call in collector.named(f"send {channel}")]
    assert {call.parent for call in calls} == {each.id for each in sent}
    assert {call.kind for call in calls} == {"CLIENT"}
    assert all(
        each["service.name"] == "alert-router"
        and each["service.version"] == package_version()
        and each["deployment.environment.name"] == "staging"
        and each["team"] == "sre"
        for each in collector.resources
    )


async def test_the_trace_of_the_sender_goes_on_to_the_operators_servers(
    world: World, collector: FakeCollector
) -> None:
    async with FakeWebhook() as hook:
        await world.start(lambda rules: with_tracing(collector)(with_archive(hook.url)(rules)))
        await post_planted(world, headers=SAMPLED)
        await hook.until(lambda: bool(hook.calls))
        await until_delivered(world, 4)
        await world.stop()
        (receive,) = collector.named("POST /webhook")
        assert (receive.trace, receive.parent, receive.state) == (TRACE, SENDER_SPAN, SAMPLED["tracestate"])
        (send,) = collector.named("send webhook")
        assert hook.only.headers["traceparent"] == f"00-{TRACE}-{send.id}-01"
        assert hook.only.headers["tracestate"] == SAMPLED["tracestate"]
    assert {each.trace for each in collector.spans} == {TRACE}


async def test_no_vendor_gets_the_trace(world: World, collector: FakeCollector) -> None:
    await world.start(with_tracing(collector))
    await post_planted(world, headers=SAMPLED)
    await until_delivered(world, 3)
    seen = repr([vars(world.slack), vars(world.pagerduty), [vars(each) for each in (world.smtp,)]])
    assert TRACE not in seen
    assert "traceparent" not in seen.lower()


@pytest.mark.parametrize("outcome", ["delivered", "failed"])
async def test_no_planted_text_leaves_with_the_spans(
    world: World, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    if outcome == "failed":
        monkeypatch.setattr(SlackChannel, "send", fail_with_secrets)
        world.pagerduty.fail(pagerduty_http(503, PROVIDER_WORDS))
    await world.start(with_tracing(collector))
    await post_planted(world)
    await (until_delivered(world, 3) if outcome == "delivered" else until_failed(world, "slack:C0CRITICAL"))
    await world.end()
    assert deliveries(collector)
    assert found_in(b"".join(collector.raw)) == []


async def test_a_failed_delivery_has_its_status_and_the_next_one_the_same_trace(
    world: World, collector: FakeCollector
) -> None:
    world.pagerduty.fail(pagerduty_http(503))
    await world.start(with_tracing(collector))
    await post_planted(world)
    await until_delivered(world, 2)
    await world.at_rest()
    world.clock.advance(MINUTE)
    await until_delivered(world, 3)
    await world.stop()
    (receive,), (failed, delivered) = collector.named("POST /webhook"), collector.named("deliver pagerduty")
    assert failed.has_failed
    assert failed.attributes["alert_router.outcome"] == "retry"
    assert failed.attributes["alert_router.http_status"] == 503
    assert not delivered.has_failed
    assert delivered.attributes["alert_router.attempt"] == 2
    assert {failed.parent, delivered.parent} == {receive.id}


async def test_a_held_delivery_belongs_to_the_webhook_of_last_night(
    world: World, collector: FakeCollector
) -> None:
    world.clock.advance(8 * HOUR)
    await world.start(with_tracing(collector))
    await world.post("Disk", "warning")
    await world.at_rest()
    for _ in range(3):  # Alertmanager repeats it
        world.clock.advance(4 * HOUR)
        await world.post("Disk", "warning")
        await world.at_rest()
    world.clock.advance(2 * HOUR)
    await until_delivered(world, 2)
    await world.stop()
    first, *_ = collector.named("POST /webhook")
    assert collector.named("decide")[0].attributes == {"alert_router.decisions.hold": 2}
    for each in (*collector.named("deliver slack"), *collector.named("deliver email")):
        assert (each.trace, each.parent) == (first.trace, first.id)
        assert each.attributes["alert_router.decision"] == "hold"


async def test_a_delivery_about_two_webhooks_has_links(world: World, collector: FakeCollector) -> None:
    world.clock.advance(8 * HOUR)
    await world.start(with_tracing(collector))
    for cluster in ("eu-1", "eu-2"):  # one group, two alerts
        await world.post("Disk", "warning", cluster=cluster)
    await world.at_rest()
    world.clock.advance(14 * HOUR)
    await until_delivered(world, 2)
    await world.stop()
    first, second = collector.named("POST /webhook")
    (slack,) = collector.named("deliver slack")
    assert {(slack.trace, slack.parent), *slack.links} == {(first.trace, first.id), (second.trace, second.id)}


async def test_a_delivery_after_a_restart_begins_a_trace(world: World, collector: FakeCollector) -> None:
    world.clock.advance(8 * HOUR)
    await world.start(with_tracing(collector))
    await world.post("Disk", "warning")
    await world.end()
    await world.start(with_tracing(collector))
    world.clock.advance(14 * HOUR)
    await until_delivered(world, 2)
    await world.stop()
    (receive,) = collector.named("POST /webhook")
    for each in (*collector.named("deliver slack"), *collector.named("deliver email")):
        assert each.trace != receive.trace
        assert each.parent == ""


@pytest.mark.parametrize(
    ("headers", "rate", "spans"), [(None, 0, False), (SAMPLED, 0, True), (NOT_SAMPLED, 1, False)]
)
async def test_the_sender_decides_about_its_trace_and_the_rate_about_others(
    world: World, collector: FakeCollector, headers: dict[str, str] | None, rate: int, spans: bool
) -> None:
    await world.start(with_tracing(collector, f"sample_rate: {rate}"))
    await post_planted(world, headers=headers)
    await until_delivered(world, 3)
    await world.stop()
    assert bool(collector.spans) is spans
    assert len(deliveries(collector)) == (3 if spans else 0)


async def test_a_refused_webhook_has_its_status(world: World, collector: FakeCollector) -> None:
    await world.start(
        lambda rules: with_tracing(collector)(
            f"{rules}sources: [{{name: prod, bearer_token: token-of-nobody}}]\n"
        )
    )
    assert await post_planted(world) == 401
    await world.stop()
    (receive,) = collector.named("POST /webhook")
    assert receive.attributes["http.response.status_code"] == 401
    assert not receive.has_failed


@pytest.mark.parametrize("fault", [http(400), http(307, Location="http://127.0.0.1:9/v1/traces")])
async def test_a_collector_that_refuses_changes_nothing_but_a_count(
    world: World, collector: FakeCollector, fault: Fault
) -> None:
    collector.fail(*[fault] * 100)
    await world.start(with_tracing(collector))
    assert await post_planted(world) == 200
    await until_delivered(world, 3)

    async def is_counted() -> bool:
        name = 'alert_router_telemetry_dropped_total{kind="span",reason="failed"}'
        return await metric_value(world, name) > 0

    await until(is_counted, "lost spans")
    assert collector.spans == []


async def test_the_headers_of_routes_yaml_reach_the_collector(world: World) -> None:
    async with FakeCollector(authorization="Bearer token of nobody") as collector:
        more = "sample_rate: 1, otlp_headers: 'Authorization=Bearer%20token%20of%20nobody'"
        await world.start(with_tracing(collector, more))
        await world.post("Down", "critical")
        await until_delivered(world, 3)
        await world.stop()
        assert len(deliveries(collector)) == 3


async def test_a_reload_switches_traces_on_and_off(world: World, collector: FakeCollector) -> None:
    await world.start()
    await world.post("One", "critical")
    await until_delivered(world, 3)
    assert (await world.reload(with_tracing(collector)))[0] == 200
    await world.post("Two", "critical")
    await until_delivered(world, 6)
    assert (await world.reload(lambda rules: rules))[0] == 200
    await world.post("Three", "critical")
    await until_delivered(world, 9)
    await world.stop()
    assert len(collector.named("POST /webhook")) == 1
    assert len(deliveries(collector)) == 3
