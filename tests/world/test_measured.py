"""What the service measures about itself: calls of providers, requests, errors and sizes of the database."""

import aiohttp

from router.model import MINUTE
from tests.world.asking import metric_value, until_delivered
from tests.world.conftest import World
from tests.world.test_maintenance import gauge, until

WRITE_ERRORS = 'alert_router_store_errors_total{kind="write"}'
FREE = "alert_router_disk_free_bytes"


async def test_each_attempt_at_a_provider_is_timed_by_channel(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    for channel in ("slack", "pagerduty", "email"):
        name = f'alert_router_provider_call_seconds_count{{channel="{channel}"}}'
        assert await metric_value(world, name) == 1


async def test_a_scrape_is_the_only_request_in_progress(world: World) -> None:
    await world.start()
    for _ in range(2):
        assert await metric_value(world, "alert_router_http_requests_in_progress ") == 1
    async with aiohttp.ClientSession() as session:
        assert world.service is not None
        async with session.get(f"{world.service.url}/events") as events:
            await events.content.readany()
            assert await metric_value(world, "alert_router_http_requests_in_progress ") == 2


async def test_the_sizes_of_the_database_are_measured_every_minute(world: World) -> None:
    await world.start()
    await until(world, lambda: (gauge(world, FREE) or 0) > 0)
    path = world.folder / "router.db"
    assert await metric_value(world, 'alert_router_database_bytes{file="main"}') == path.stat().st_size
    assert await metric_value(world, 'alert_router_database_bytes{file="wal"}') > 0


async def test_batches_that_fail_because_of_the_database_are_counted(world: World) -> None:
    await world.start()
    assert await metric_value(world, WRITE_ERRORS) == 0
    path, beside = world.folder / "router.db", world.folder / "elsewhere.db"
    path.rename(beside)
    try:
        world.clock.advance(MINUTE)
        assert await world.post("Down", "critical") == 503
        assert await metric_value(world, WRITE_ERRORS) >= 1
    finally:
        beside.rename(path)


async def test_what_must_not_happen_is_counted_from_zero_on(world: World) -> None:
    """`increase` does not see the first value of a series, and Alertmanager does not repeat what got a 4xx."""
    await world.start(lambda rules: f"{rules}sources: [{{name: prod, bearer_token: token-of-nobody}}]\n")
    refused = 'alert_router_webhooks_total{{outcome="{}",source="{}"}}'
    for source in ("prod", "unknown"):
        for outcome in ("quarantined", "unauthorized", "too_large", "unsupported", "unavailable"):
            assert await metric_value(world, refused.format(outcome, source)) == 0
    for channel in ("slack", "pagerduty", "email"):
        assert await metric_value(world, f'alert_router_template_fallbacks_total{{channel="{channel}"}}') == 0
    assert await world.post("Down", "critical") == 401
    assert await metric_value(world, refused.format("unauthorized", "unknown")) == 1
