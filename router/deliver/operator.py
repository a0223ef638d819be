"""What the router says of itself: a destination that somebody has to mend is an alert like any other."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable

import structlog

from router.clock import Clock
from router.decide import Policy
from router.metrics import Metrics
from router.model import (
    OWN_SOURCE,
    Alert,
    Destination,
    Millis,
    Status,
    Webhook,
)
from router.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)

ALERTNAME = "AlertRouterDestinationBroken"


class Operator:
    """Raises and ends these alerts. They are accepted as a webhook is, and routed as every alert is, save that
    no destination is told of its own breaking.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._wake = wake
        self._since: dict[str, Millis] | None = None

    async def begin(self, served: Collection[str]) -> None:
        """Go on where the last process stopped; what is served no more is nobody's to mend.

        :param served: the keys of the destinations that have a lane
        """
        if self._since is None:
            self._since = await self._store.own_alerts()
        for key in self._since.keys() - set(served):
            await self.mended(key)

    def since(self, key: str) -> Millis | None:
        """When a destination broke; None: it is well."""
        return (self._since or {}).get(key)

    async def broken(self, destination: Destination, reason: str) -> None:
        """Say so, once."""
        now = self._clock.now()
        if self._since is None or destination.key in self._since:
            return
        log.error("destination broken", destination=destination.key, reason=reason)
        annotations = {
            "summary": f"{destination.key} can't be told: {reason}",
            "description": "What it is to be told waits. Once it is mended, a probe finds out within half an hour; "
            f"at once with: alert-router deliveries resume {destination.key}",
        }
        if await self._post(destination.key, annotations, Status.FIRING, now, None):
            self._since[destination.key] = now

    async def mended(self, key: str) -> None:
        since = self.since(key)
        if since is None or self._since is None:
            return
        log.info("destination mended", destination=key)
        if await self._post(
            key, {"summary": f"{key} can be told again"}, Status.RESOLVED, since, self._clock.now()
        ):
            del self._since[key]

    async def _post(
        self, key: str, annotations: dict[str, str], status: Status, since: Millis, until: Millis | None
    ) -> bool:
        """False: the store can't be written; it is said with the next failure, or the next delivery."""
        policy = self._policy()
        labels = {
            "alertname": ALERTNAME,
            policy.severity.label: policy.severity.levels[0],
            "broken_destination": key,
        }
        fingerprint = hashlib.sha256(key.encode()).hexdigest()[:16]
        alert = Alert(fingerprint, labels, annotations, status, since, until, about=frozenset({key}))
        group = {name: labels[name] for name in ("alertname", "broken_destination")}
        webhook = Webhook(OWN_SOURCE, json.dumps(group), group, "", 0, (alert,))
        body = json.dumps({"status": status, "labels": labels, "annotations": annotations}).encode()
        try:
            receipt = await self._store.accept(webhook, OWN_SOURCE, body, policy, self._clock.now())
        except StoreUnavailable:  # the store has said so, once for all
            return False
        for kind, level, known_level in receipt.changes:
            self._metrics.change(OWN_SOURCE, kind, level, known_level=known_level)
        for destination, verdict in receipt.decisions:
            self._metrics.decision(destination, verdict)
        self._wake(receipt.wake)
        return True
