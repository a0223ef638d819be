"""Objectives as operators see them: the API, the page, the command, the metrics, and what a restart keeps."""

import json
from typing import Any

from structlog.testing import capture_logs

from router.decide import TEST_ALERTNAME
from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import SLACK, metric_value, until_delivered, until_failed
from tests.world.browsing import ask, read
from tests.world.commands import run
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import http as pagerduty_http
from tests.world.fake_slack import http as slack_http
from tests.world.test_storm import settled
from tests.world.testing_receivers import begin_test, finish


def with_tenants(rules: str) -> str:
    return f"{rules}\ntenant_label: team\ntenants: [{{name: shop, slo: {{in_time: 50}}}}, {{name: search}}]\n"


async def flushed(world: World) -> None:
    assert world.service is not None
    await world.service.objectives.flush()


async def found(world: World, **parameters: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objectives by name and tenant."""
    await flushed(world)
    status, answer = await ask(world, "/api/v1/slo", **parameters)
    assert status == 200, answer
    return {(each["objective"], each["tenant"]): each for each in answer["objectives"]}


async def test_every_objective_counts_its_events(world: World) -> None:
    await world.start()
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    await until_delivered(world, 2)
    world.clock.advance(6 * MINUTE)
    await until_delivered(world, 3)
    rows = await found(world)
    counts = {name: (each["good"], each["bad"]) for (name, _), each in rows.items()}
    assert sum(counts.pop("answered")) == 1  # it may take long on a busy machine
    assert counts == {"accepted": (1, 0), "urgent_in_time": (2, 1), "in_time": (2, 1), "delivered": (3, 0)}
    late = rows["in_time", ""]
    assert (late["target"], late["ratio"], late["is_met"]) == (0.99, 0.666667, False)
    assert late["budget"] == {"allowed": 0.03, "left": -0.97, "left_share": -32.333333}
    assert late["burn_rates"] == {"1h": 33.333333, "6h": 33.333333, "3d": 33.333333}
    assert await metric_value(
        world, 'alert_router_slo_events_total{objective="in_time",outcome="bad",tenant=""}'
    ) == 1  # fmt: skip
    assert await metric_value(world, 'alert_router_due_to_delivered_seconds_count{level="critical"}') == 3
    ratio = await metric_value(world, 'alert_router_slo_objective_ratio{objective="accepted",tenant=""}')
    assert ratio == 0.999


async def test_counts_outlive_a_restart_and_leave_the_window(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    await world.stop()
    await world.start()
    rows = await found(world)
    assert (rows["accepted", ""]["good"], rows["delivered", ""]["good"]) == (1, 3)
    world.clock.advance(31 * 24 * HOUR)
    await world.at_rest()
    rows = await found(world)
    assert rows["delivered", ""]["ratio"] is None
    assert rows["delivered", ""]["is_met"] is None


async def test_a_refused_webhook_is_no_event_and_a_503_is_bad(world: World) -> None:
    await world.start()
    context = world.service.objectives if world.service is not None else None
    assert context is not None
    for code in (401, 413, 415, 200, 202, 503):
        context.answered(code, 0.4999)
    context.answered(200, 0.501)
    rows = await found(world)
    assert (rows["accepted", ""]["good"], rows["accepted", ""]["bad"]) == (3, 1)
    assert (rows["answered", ""]["good"], rows["answered", ""]["bad"]) == (3, 1)


async def test_what_is_overdue_is_shown_before_it_is_counted(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 50)
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    await until_delivered(world, 2)
    world.clock.advance(31 * SECOND)
    await world.at_rest()
    _, answer = await ask(world, "/api/v1/slo")
    assert answer["overdue"] == {
        "conversations": 1, "urgent": 1, "is_exact": True, "oldest": MONDAY_NOON,
    }  # fmt: skip
    page = await read(world, "/slo")
    assert "1 conversation is overdue now (1 of the most urgent level)" in page.text
    command = await run(world, "slo")
    assert "1 conversation is overdue (1 of the most urgent level)" in command.output
    assert world.slack.messages == {}


async def test_tenants_have_objectives_and_targets_of_their_own(world: World) -> None:
    await world.start(with_tenants)
    await world.post("Cart", "critical", team="shop")
    await world.post("Disk", "critical", team="storage")
    await world.post("Cpu", "critical")
    await until_delivered(world, 9)
    rows = await found(world)
    counts = {tenant: rows["delivered", tenant]["good"] for tenant in ("", "shop", "search", "other", "none")}
    assert counts == {"": 9, "shop": 3, "search": 0, "other": 3, "none": 3}
    assert (rows["in_time", "shop"]["target"], rows["in_time", "search"]["target"]) == (0.5, 0.99)
    assert ("accepted", "shop") not in rows
    assert set(await found(world, tenant="shop")) == {
        (name, "shop") for name in ("urgent_in_time", "in_time", "delivered")
    }
    status, problem = await ask(world, "/api/v1/slo", tenant="shops")
    assert (status, "shop, search, other, none" in problem["detail"]) == (400, True)
    changes = 'alert_router_tenant_changes_total{kind="fired",level="critical",tenant="shop"}'
    assert await metric_value(world, changes) == 1
    assert await metric_value(world, 'alert_router_tenant_fates_total{fate="delivered",tenant="shop"}') == 3
    page = await read(world, "/slo?tenant=shop")
    assert "All delivered in time met" in page.text
    assert "/ledger?tenant=shop" in page.links
    assert "/slo?tenant=other" in (await read(world, "/slo")).links


async def test_a_change_that_a_storms_message_names_is_in_time(world: World) -> None:
    await world.start()
    for number in range(90):
        assert await world.post(f"Down{number}", "warning") == 200
    world.clock.advance(10 * SECOND)  # past the inhibit wait
    await settled(world)
    (storm,) = world.slack.in_channel("C0WARNINGS")
    assert "90" in storm.shown
    rows = await found(world)
    assert (rows["in_time", ""]["good"], rows["in_time", ""]["bad"]) == (180, 0)
    assert (rows["delivered", ""]["good"], rows["delivered", ""]["bad"]) == (180, 0)


async def test_a_tenant_that_is_removed_keeps_the_counts_of_its_past(world: World) -> None:
    await world.start(with_tenants)
    await world.post("Cart", "critical", team="shop")
    await until_delivered(world, 3)
    await world.reload(lambda rules: f"{rules}\ntenant_label: team\ntenants: [{{name: search}}]\n")
    await world.post("Shelf", "critical", team="shop")
    await until_delivered(world, 6)
    rows = await found(world)
    assert rows["delivered", ""]["good"] == 6
    assert (rows["delivered", "other"]["good"], ("delivered", "shop") in rows) == (3, False)
    await world.reload(with_tenants)
    rows = await found(world)
    assert (rows["delivered", "shop"]["good"], rows["delivered", "other"]["good"]) == (3, 3)


async def test_the_command_has_a_table_and_fails_if_an_objective_is_missed(world: World) -> None:
    await world.start()
    before = await run(world, "slo")
    assert (before.exit_code, "nothing is counted yet" in before.output) == (0, True)
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    await until_delivered(world, 2)
    world.clock.advance(6 * MINUTE)
    await until_delivered(world, 3)
    await flushed(world)
    command = await run(world, "slo")
    assert command.exit_code == 1
    line = next(line for line in command.output.splitlines() if line.startswith("in_time"))
    assert line.split() == [
        "in_time",
        "99",
        "%",
        "2",
        "1",
        "66.6667",
        "%",
        "-3233.3",
        "%",
        "-1.0",
        *["33.33"] * 3,
    ]
    shown = json.loads((await run(world, "slo", "--json")).output)
    assert shown == (await ask(world, "/api/v1/slo"))[1]


async def test_the_history_has_the_days_of_the_window(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    world.clock.advance(24 * HOUR)
    await world.at_rest()
    await world.post("Disk", "critical")
    await until_delivered(world, 6)
    await flushed(world)
    _, answer = await ask(world, "/api/v1/slo/history")
    days = {each["objective"]: [day["good"] for day in each["days"]] for each in answer["history"]}
    assert (days["delivered"], days["accepted"]) == ([3, 3], [1, 1])
    page = await read(world, "/slo")
    assert page.text.count("Error budget left at the end of each day") == 5


async def test_the_ledger_of_a_tenant_is_on_the_page_and_in_the_command(world: World) -> None:
    await world.start(with_tenants)
    await world.post("Cart", "critical", team="shop")
    await world.post("Disk", "critical", team="storage")
    await until_delivered(world, 6)
    status, found = await ask(world, "/api/v1/ledger", tenant="shop")
    assert (status, found["changes_x_destinations"], found["fates"]["delivered"]) == (200, 3, 3)
    assert (found["tenant"], found["webhooks"], found["deliveries"], found["imbalance"]) == (
        "shop",
        None,
        {},
        0,
    )
    _, period = await ask(world, "/api/v1/ledger", tenant="shop", since="2026-11-23")
    assert period["by_destination"] == found["by_destination"]
    page = await read(world, "/ledger?tenant=shop")
    assert "Only changes of the tenant shop" in page.text
    assert "3 changes × destinations = 3 delivered" in page.text
    (alerts,) = (each for each in page.links if each.startswith("/alerts?filter"))
    assert "Cart" in (listed := await read(world, alerts)).text
    assert "Disk" not in listed.text
    others = await read(world, (await read(world, "/ledger?tenant=other")).link("Its alerts"))
    assert "Disk" in others.text
    assert "Cart" not in others.text
    command = await run(world, "ledger", "--tenant", "shop")
    assert (command.exit_code, "only changes of the tenant shop" in command.output) == (0, True)
    database = await run(
        world, "ledger", "--tenant", "shop", "--database", f"sqlite:///{world.folder}/router.db"
    )
    assert (database.exit_code, "only changes of the tenant shop" in database.output) == (0, True)
    assert (
        json.loads((await run(world, "ledger", "--json", "--tenant", "shop")).output)["fates"]
        == found["fates"]
    )


async def test_a_digest_has_a_section_with_a_line_for_each_tenant(world: World) -> None:
    await world.start(with_tenants)
    await world.post("Cart", "info", team="shop")
    await world.post("Cpu", "info")
    world.clock.advance(24 * HOUR)
    await world.smtp.until(lambda: bool(world.smtp.mails))
    body = world.smtp.mails[0].message.get_body(("plain",))
    assert body is not None
    text = str(body.get_content())
    assert "BY TENANT" in text
    assert "none: 1 firing (1 new) - Cpu" in text
    assert "shop: 1 firing (1 new) - Cart" in text


async def test_lines_of_webhooks_and_deliveries_name_tenants_and_source(world: World) -> None:
    with capture_logs() as logs:
        await world.start(with_tenants)
        await world.post("Cart", "warning", team="shop")
        world.clock.advance(10 * SECOND)
        await until_delivered(world, 1)
        await world.stop()
    lines = [each["fields"]() for each in logs if each["event"] in {"webhook accepted", "delivery"}]
    assert len(lines) > 1
    assert {(line["tenant"], line["source"]) for line in lines} == {("shop", "default")}


async def test_a_test_is_no_event_but_an_alert_of_its_name_is(world: World) -> None:
    await world.start(with_tenants)
    world.pagerduty.fail(*[pagerduty_http(400)] * 20)
    report = await finish(world, await begin_test(world, "oncall"))
    assert report["outcome"] == "failed"
    rows = await found(world)
    assert {(each["good"], each["bad"]) for (name, _), each in rows.items() if name == "delivered"} == {
        (0, 0)
    }
    await world.post(TEST_ALERTNAME, "critical", receiver="oncall", team="shop")
    await until_delivered(world, 6)
    rows = await found(world)
    assert (rows["delivered", "shop"]["good"], rows["delivered", "none"]["good"]) == (2, 0)
    assert world.service is not None
    assert (await world.service.store.integrity(world.clock.now(), None)).miscounted.count == 0
