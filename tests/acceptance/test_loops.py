"""The real process on both event loops: uvloop, and asyncio's own where uvloop is not installed."""

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, running, until
from tests.world.bodies import alert, webhook


def _has_uvloop(pid: int) -> bool | None:
    """Return whether the process has loaded uvloop; None: the system does not say."""
    loaded = Path(f"/proc/{pid}/maps")
    return "uvloop" in loaded.read_text() if loaded.exists() else None


@pytest.mark.parametrize("installed", [True, False], ids=["with uvloop", "without uvloop"])
async def test_the_service_works_with_and_without_uvloop(
    folder: Path, providers: Providers, installed: bool
) -> None:
    hidden = folder / "hidden"
    hidden.mkdir()
    if not installed:
        (hidden / "uvloop.py").write_text("raise ImportError")
    critical = alert(labels={"alertname": "Down", "severity": "critical"})
    router = Router(folder, providers.routes, environ={"PYTHONPATH": str(hidden)})
    async with running(router):
        assert _has_uvloop(router.pid) in {installed, None}
        assert await router.post(json.dumps(webhook(critical)).encode()) == 200

        async def is_sent() -> bool:
            return bool(providers.slack.messages and providers.pagerduty.accepted and providers.mail.mails)

        await until(is_sent, "every destination is notified")
        before = (await router.status())["config"]

        async def reloaded() -> bool:
            return bool((await router.status())["config"] != before)

        router.hang_up(providers.routes + "\n# another file\n")
        await until(reloaded, "the rules are loaded again")
        assert await router.stop() == 0
