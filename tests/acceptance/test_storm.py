"""A storm: ten thousand alerts in a thousand groups, and a Slack that takes one message a second."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp

GROUPS, ALERTS = 1_000, 10
CONNECTIONS = 16
log = logging.getLogger(__name__)


def group(number: int) -> tuple[str, bytes]:
    """Return the name of a group and a webhook with it; every hundredth is critical."""
    name = f"Storm{number:04}"
    common = {"alertname": name, "cluster": "eu-1", "severity": "warning" if number % 100 else "critical"}
    alerts: list[dict[str, Any]] = [
        {
            "status": "firing", "labels": {**common, "instance": f"host-{instance}:9100"},
            "annotations": {"summary": f"{name} is bad on host-{instance}"}, "startsAt": "2026-11-20T23:17:53.535706Z",
        }
        for instance in range(ALERTS)
    ]  # fmt: skip
    body = {
        "version": "4", "groupKey": f'{{}}:{{alertname="{name}"}}', "truncatedAlerts": 0, "status": "firing",
        "receiver": "router", "groupLabels": {"alertname": name}, "commonLabels": common, "commonAnnotations": {},
        "externalURL": "http://alertmanager.example", "alerts": alerts,
    }  # fmt: skip
    return name, json.dumps(body).encode()


async def test_a_critical_overtakes_a_storm_and_the_ledger_balances(folder: Path) -> None:
    storm = [group(number) for number in range(GROUPS)]
    accepted: dict[str, float] = {}
    paged: dict[str, float] = {}
    overtaken: dict[str, int] = {}
    """How many groups were accepted when each critical was paged, instead of a time."""
    clock = time.monotonic  # real time: Slack's limits, and the figures in the log
    async with FakeSlack(seconds=clock) as slack, FakePagerDuty() as pagerduty, FakeSmtp() as mail:

        def note(step: str) -> None:
            if step == "taken":
                name = str(pagerduty.accepted[-1].payload["class"])
                paged[name], overtaken[name] = clock(), len(accepted)

        pagerduty.on_step = note
        # Nothing is held, so that the load is the same at every time of the week.
        routes = Providers(slack, pagerduty, mail).routes.replace("outside: hold", "outside: send")
        router = Router(folder, routes)
        async with running(router), aiohttp.ClientSession() as session:
            left, late_writes = iter(storm), 0

            async def post(body: bytes) -> int:
                async with session.post(f"{router.url}/webhook", data=body) as answer:
                    return answer.status

            async def send() -> None:
                """Post like Alertmanager: repeat a webhook that is refused because the disk is too slow."""
                nonlocal late_writes
                for name, body in left:
                    while (status := await post(body)) != 200:
                        assert status == 503
                        late_writes += 1
                    accepted[name] = clock()

            began = clock()
            async with asyncio.TaskGroup() as senders:
                for _ in range(CONNECTIONS):
                    senders.create_task(send())
            took = clock() - began
            await pagerduty.until(lambda: len(paged) == GROUPS // 100)
            ledger = (await router.status())["ledger"]
            refused = slack.refused_as_too_fast
            await router.kill()  # a stop would send the rest, at Slack's rate
    order = list(accepted)
    overtaken = {name: count - order.index(name) for name, count in overtaken.items()}
    late = {name: paged[name] - accepted[name] for name in paged}
    log.info("accepted in %.1f s; the latest page after %.3f s; %d x 429", took, max(late.values()), refused)
    log.info("accepted before a critical was paged: %s", overtaken)
    assert max(overtaken.values()) < GROUPS / 4
    assert (ledger["changes"]["fired"], ledger["changes"]["resolved"]) == (GROUPS * ALERTS, 0)
    assert ledger["changes"]["repeated"] <= ALERTS * late_writes  # a refused webhook may have been stored
    assert ledger["imbalance"] == 0
    assert not {"dead", "dropped", "obsolete"} & {fate for fate, count in ledger["fates"].items() if count}
