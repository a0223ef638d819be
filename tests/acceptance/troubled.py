"""A service in the middle of a bad night: everything that its pages can show, and texts that try to harm them."""

import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import Router, free_port, running, until

BERT = "bert@example.com"
USERS = {"vera": "view", "otto": "operate", "ada": "admin"}
"""The role of each user. A password is ``pw-of-NAME``."""
MARKUP = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
LONG_WORD = "supercalifragilistic" * 10
CONTROLS = (
    "bell\x07 escape\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u202c \u2066left\u2069 zero\u200bwidth nul\x00"
)
JAVASCRIPT = "javascript:document.title='run'"
_RECEIVERS = """receivers:
  archive:
    - webhook: {{url: "http://127.0.0.1:{closed}/alerts", name: archive}}
  gone:
    - slack: {{channel: C0NOWHERE}}
"""
_ROUTES = """route:
  receiver: team
  routes:
    - {matchers: ['team="web"'], receiver: archive, continue: true}
    - {matchers: ['team="web"'], receiver: gone, continue: true}
"""


def users() -> str:
    """Return the block of users for a routes.yaml."""
    lines = (
        f"  - {{name: {name}, role: {role}, password_hash: '{bcrypt.hashpw(f'pw-of-{name}'.encode(), bcrypt.gensalt(4)).decode()}'}}\n"
        for name, role in USERS.items()
    )
    return f"users:\n{''.join(lines)}"


def routes_with_dead_letters(providers: Providers) -> str:
    """Return rules with users, in which one of the two addresses of the mail to the people on call is refused."""
    providers.mail.refused = {BERT: "550 5.1.1 <script>no such user</script>"}
    rules = providers.routes.replace("to: [oncall@example.com]", f"to: [anna@example.com, {BERT}]")
    return users() + rules


def troubled_routes(providers: Providers) -> str:
    """Return rules with a broken destination, one that fails, dead letters, and hours that are closed today and tomorrow."""
    rules = routes_with_dead_letters(providers)
    rules = rules.replace("receivers:\n", _RECEIVERS.format(closed=free_port()), 1)
    rules = rules.replace("channels:\n", "channels:\n  webhook: {}\n", 1)
    rules = rules.replace("route:\n  receiver: team\n  routes:\n", _ROUTES, 1)
    opens = datetime.now(UTC) + timedelta(days=2)
    return re.sub(r"weekdays: \[[^]]*\]", f'weekdays: ["{opens:%A}"]'.lower(), rules)


def signed_in(user: str) -> dict[str, str]:
    """Return the headers of a page that the user has open."""
    return {
        "Authorization": aiohttp.encode_basic_auth(user, f"pw-of-{user}"),
        "Sec-Fetch-Site": "same-origin",
    }


def alert(name: str, severity: str, *, summary: str = "", runbook: str = "", **labels: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, "cluster": "eu-1", "severity": severity, **labels},
        "annotations": {
            "summary": summary or f"{name} on {labels.get('instance', 'eu-1')}: look at the dashboard before the shop notices",
            "runbook_url": runbook or "https://runbooks.example/database",
        },
        "startsAt": (datetime.now(UTC) - timedelta(minutes=42)).isoformat(),
        "generatorURL": runbook or "http://prometheus.example:9090/graph?g0.expr=up",
    }  # fmt: skip


def webhook(*alerts: Mapping[str, Any], url: str = "http://alertmanager.example:9093") -> bytes:
    name = str(alerts[0]["labels"]["alertname"])
    return json.dumps({
        "version": "4", "groupKey": f"{{}}:{name}", "receiver": "router", "status": alerts[0]["status"], "groupLabels": {"alertname": name},
        "externalURL": url, "truncatedAlerts": 0, "alerts": alerts,
    }).encode()  # fmt: skip


HOSTILE = alert(
    f"Evil {MARKUP}", "critical", summary=f"{MARKUP} <!channel> @everyone {CONTROLS} {LONG_WORD}", runbook=JAVASCRIPT, instance=LONG_WORD,
    note=CONTROLS, team="web", **{"a.b/c": MARKUP},
)  # fmt: skip
_ALERTS: Sequence[bytes] = (
    webhook(*(alert("ReplicationLagHigh", "critical", instance=f"db-{number}.eu-1.example:9187", team="db") for number in range(4))),
    webhook(alert("ReplicationLagHigh", "warning", instance="db-0.eu-1.example:9187", team="db")),
    webhook(alert("CheckoutErrorRateHigh", "critical", team="web", instance="checkout-1:8080")),
    webhook(*(alert("DiskWillFillIn4Days", "warning", instance=f"db-{number}.eu-1.example:9100", mountpoint="/var/lib/postgresql") for number in range(3))),
    webhook(*(alert(name, "info", instance="backup-1") for name in ("BackupSlow", "CertificateExpiresIn21Days"))),
    webhook(HOSTILE, url=JAVASCRIPT),
)  # fmt: skip
_ENDED = alert("TargetDown", "critical", instance="cache-2:9121")
_QUARANTINED = (
    b"\x1b]0;owned\x07\x00\xff\xfe" + MARKUP.encode() + "\u202egnp.exe".encode() + bytes(range(256)),
    b"this is no webhook",
    LONG_WORD.encode() * 200,
    b'{"alerts": "none"}',
    gzip.compress(b"no JSON either"),
)


@dataclass
class Troubled:
    """The running service."""

    router: Router
    providers: Providers

    async def ask(self, path: str, **parameters: str) -> Any:
        """Return what the API answers."""
        address = f"{self.router.url}/api/v1/{path}"
        async with (
            aiohttp.ClientSession(headers=signed_in("vera")) as session,
            session.get(address, params=parameters) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def act(self, path: str, user: str = "ada", **fields: str) -> int:
        """Post a form in the name of a user, and return the status."""
        async with (
            aiohttp.ClientSession(headers=signed_in(user)) as session,
            session.post(f"{self.router.url}{path}", data=fields, allow_redirects=False) as answer,
        ):
            return answer.status

    async def total(self, path: str, **parameters: str) -> int:
        return int((await self.ask(path, **parameters))["total"])

    async def until_total(self, path: str, least: int, **parameters: str) -> None:
        async def enough() -> bool:
            return await self.total(path, **parameters) >= least

        await until(enough, f"{least} of {path} {parameters}")


@contextlib.asynccontextmanager
async def troubled_service(
    providers: Providers,
    folder: Path,
    change: Callable[[str], str] = lambda rules: rules,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Troubled]:
    """A service with alerts that fire, are held, inhibited and in a digest; with a failing, a broken and a paused
    destination; with dead letters, a quarantine and a failed reload.

    :param change: adds to its rules
    :param environ: its variables, see :class:`tests.acceptance.processes.Router`
    """
    async with running(Router(folder, change(troubled_routes(providers)), environ=environ)) as router:
        there = Troubled(router, providers)
        for body in (webhook(_ENDED), *_ALERTS):
            assert await router.post(body) == 200
        for body in _QUARANTINED:
            assert await router.post(body) == 202
        await there.until_total("dead-letters", 3)
        ended = datetime.now(UTC).isoformat()
        assert await router.post(webhook({**_ENDED, "status": "resolved", "endsAt": ended})) == 200
        for state in ("broken", "failing"):
            await there.until_total("destinations", 1, state=state)
        assert await there.act("/destinations/email:team@example.com/pause", "otto") == 303
        assert await there.act("/configuration/reload", "otto") == 403
        rules = router.config.read_text()
        router.config.write_text(f"{rules}# {MARKUP}\n")
        assert await there.act("/configuration/reload") == 303
        router.config.write_text(rules.replace("receiver: daily", "receiver: dayli"))
        assert await there.act("/configuration/reload") == 303
        yield there
