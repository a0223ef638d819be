"""The package ``router.web`` on a real store, behind real sockets; the rules and the other packages are made up."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from router.clock import SystemClock
from router.config import Config
from router.decide import Policy, Route, Severity
from router.metrics import Metrics
from router.model import (
    AccessSettings,
    Destination,
    ReceiverTest,
    Retention,
    Source,
    TestRefused,
    TestRequest,
)
from router.rules.check import Checked
from router.store import Store
from router.threads import Threads
from router.undecided import Undecided
from router.web import AppContext
from router.web.access.identification import Identification
from router.web.access.password_checks import PasswordChecks
from router.web.access.peers import AccessOptions
from router.web.app_context import DigestDraft
from tests.waiting import until

SLACK = Destination("slack:C0WARNINGS", "slack", None)
POLICY = Policy(
    severity=Severity(), root=Route("route", "team"), receivers={"team": (SLACK,)}, fingerprint="1"
)


@dataclass
class WebHarness:
    """What ``router.web`` asks other packages for. A test sets the answers, and reads what the package asked."""

    store: Store
    sources: tuple[Source, ...] = ()
    policy: Callable[[], Policy] = lambda: POLICY
    stopping: bool = False
    lane_alive: bool = True
    applied: bool = True
    max_body: int = 2**20
    read_seconds: float = 30.0
    keep_seconds: float = 8.0
    metrics: Metrics = field(default_factory=Metrics)
    threads: Threads = field(default_factory=lambda: Threads("pages", 1))
    woken: set[str] = field(default_factory=set)
    reloads: int = 0
    resumed: list[str] = field(default_factory=list)
    access: AccessSettings = field(default_factory=AccessSettings)
    options: AccessOptions = field(default_factory=AccessOptions)
    checks: PasswordChecks = field(default_factory=PasswordChecks)

    def wake(self, destinations: Iterable[str]) -> None:
        self.woken.update(destinations)

    async def claim_ahead(self) -> None:
        """There are no lanes."""

    def lanes(self) -> list[dict[str, Any]]:
        return [
            {
                "destination": SLACK.key,
                "channel": "slack",
                "alive": self.lane_alive,
                "is_here": True,
                "replica": None,
                "paused_until": None,
                "pause_reason": None,
                "broken_since": None,
                "paused_since": None,
                "a_minute": 60,
            }
        ]

    def config(self) -> Config:
        return Config(
            POLICY, self.sources, {}, "Europe/Berlin", None, "0" * 64, Retention(), access=self.access
        )

    async def reload(self, actor: str) -> None:
        self.reloads += 1

    async def draft_digest(self, destination: Destination) -> DigestDraft:
        raise NotImplementedError(f"{destination.key} is no digest")

    async def check_files(self) -> Checked:
        return Checked((), {})

    async def pause(self, destination: str, by: str) -> tuple[int, str] | None:
        return (1_795_262_400_000, "") if destination == SLACK.key else None

    async def resume(self, destination: str) -> dict[str, str] | None:
        self.resumed.append(destination)
        return {"status": "delivered", "reason": ""} if destination == SLACK.key else None

    async def start_test(self, request: TestRequest) -> ReceiverTest:
        raise TestRefused(f"no test of {request.receiver} can begin here")

    async def follow_test(self, test: str, unlike: str, seconds: float) -> tuple[ReceiverTest, str] | None:
        return None

    def __post_init__(self) -> None:
        self.undecided = Undecided(self.store, SystemClock(), self.metrics, self.policy, self.wake)

    async def decided(self) -> None:
        """Return when all alerts of large webhooks are decided."""

        async def none_waits() -> bool:
            return self.undecided.alerts == 0

        await until(none_waits, "all are decided")

    def parts(self) -> AppContext:
        return AppContext(
            store=self.store, clock=SystemClock(), metrics=self.metrics, sources=lambda: self.sources,
            policy=self.policy, config=self.config, claim_ahead=self.claim_ahead, wake_lanes=self.wake, store_large_webhook=self.undecided.keep,
            undecided=lambda: self.undecided.alerts,
            lanes=self.lanes, stopping=lambda: self.stopping,
            max_body=self.max_body, read_seconds=self.read_seconds, keep_seconds=self.keep_seconds, rules_status=lambda: {"applied": self.applied},
            reload=self.reload, resume=self.resume, pause=self.pause, start_test=self.start_test, follow_test=self.follow_test, access=Identification(self.options, self.checks), check_files=self.check_files,
            draft_digest=self.draft_digest,
            threads=self.threads,
        )  # fmt: skip

    async def accepted(self) -> int:
        """Webhooks in the ledger."""
        count: int = (await self.store.pages.status())["webhooks"]["accepted"]
        return count

    def counted(self, source: str, outcome: str) -> float | None:
        labels = {"source": source, "outcome": outcome}
        return self.metrics.registry.get_sample_value("alert_router_webhooks_total", labels)


Client = TestClient[web.Request, web.Application]
Serve = Callable[[WebHarness], Awaitable[Client]]
