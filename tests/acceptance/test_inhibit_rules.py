"""The inhibit rules of deploy/alertmanager in the real Alertmanager: an alert mutes those of its own router only."""

from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.monitoring_stack import program
from tests.acceptance.processes import free_port, needs_alertmanager, until
from tests.deployed import DEPLOY

_LAB, _PRODUCTION = {"namespace": "lab"}, {"namespace": "production"}
_ROUTER_LAB = {"router": "lab"}
# The alert that mutes, its labels, another alert, its labels, and whether the second one is muted.
_CASES: list[tuple[str, dict[str, str], str, dict[str, str], bool]] = [
    ("AlertRouterDown", {}, "AlertRouterStoreUnwritable", {}, True),
    ("AlertRouterDown", _LAB, "AlertRouterStoreUnwritable", _LAB, True),
    ("AlertRouterDown", _LAB, "AlertRouterStoreUnwritable", _PRODUCTION, False),
    ("AlertRouterDown", _ROUTER_LAB, "AlertRouterStoreUnwritable", _ROUTER_LAB, True),
    ("AlertRouterDown", _ROUTER_LAB, "AlertRouterStoreUnwritable", {}, False),
    ("AlertRouterDown", _LAB, "AlertRouterRestarting", _LAB, False),
    ("AlertRouterStoreUnwritable", _LAB, "AlertRouterLeaseNotHeld", _LAB, True),
    ("AlertRouterStoreUnwritable", _LAB, "AlertRouterReplicaCutOff", _PRODUCTION, False),
]


@needs_alertmanager
async def test_an_alert_mutes_only_alerts_of_its_own_router(tmp_path: Path) -> None:
    at = f"127.0.0.1:{free_port()}"
    url = f"http://{at}/api/v2/alerts"
    config = tmp_path / "alertmanager.yml"
    shipped = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    config.write_text(
        shipped.replace("smtp.example.com:587", "127.0.0.1:1").replace("//alert-router:9099", "//127.0.0.1:1")
    )
    arguments = (
        f"--config.file={config}", f"--storage.path={tmp_path}", f"--web.listen-address={at}", "--cluster.listen-address=",
    )  # fmt: skip
    async with (
        program(tmp_path, "prometheus-alertmanager", f"http://{at}/-/ready", {}, *arguments),
        aiohttp.ClientSession() as session,
    ):
        # Each case is a cluster of its own, so it also shows that no alert mutes those of another cluster.
        posted = [
            {"labels": {"alertname": name, "job": "alert-router", "notify": "direct", "cluster": f"{case}", **labels}}
            for case, (mutes, of, other, others, _) in enumerate(_CASES)
            for name, labels in ((mutes, of), (other, others))
        ]  # fmt: skip
        async with session.post(url, json=posted) as answer:
            assert answer.status == 200, await answer.text()
        expected = {f"{case}": is_muted for case, (*_, is_muted) in enumerate(_CASES)}

        async def are_as_expected() -> bool:
            async with session.get(url) as answer:
                shown: list[dict[str, Any]] = await answer.json()
            found = {
                each["labels"]["cluster"]: bool(each["status"]["inhibitedBy"])
                for each in shown
                if each["labels"]["alertname"] == _CASES[int(each["labels"]["cluster"])][2]
            }
            return found == expected

        await until(are_as_expected, "exactly the right alerts are muted")
