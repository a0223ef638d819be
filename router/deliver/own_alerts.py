"""Posts the alerts that the router raises about itself. They are accepted as the alerts of senders are, under a source of
their own.
"""

import json
from collections.abc import Callable, Iterable

from router.clock import Clock
from router.core.head import Grant, LeaseLost
from router.decide import Policy
from router.metrics import Metrics
from router.model import OWN_SOURCE, Alert, Webhook
from router.store import Receipt, Store, StoreUnavailable


class OwnAlerts:
    """Accepts self-alerts. Each is a group of its own, so that an end never waits for another alert."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        """:param wake: makes the lanes of these destinations look for due deliveries"""
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._wake = wake

    async def post(self, alert: Alert, grant: Grant | None = None) -> Receipt | None:
        """Accept a self-alert and wake its lanes. Return None if the store is not writable; post it again later.

        :param alert: its ``about`` is not None. Its label ``receiver`` names the receiver, see :func:`router.decide.decide`
        :param grant: the lease by which it is raised: without it, None is returned. None: it needs no lease
        """
        policy = self._policy()
        group = {name: value for name, value in alert.labels.items() if name != policy.severity.label}
        webhook = Webhook(OWN_SOURCE, json.dumps(group), group, "", 0, (alert,))
        body = json.dumps(
            {"status": alert.status, "labels": dict(alert.labels), "annotations": dict(alert.annotations)}
        ).encode()
        try:
            receipt = await self._store.accept(
                webhook, OWN_SOURCE, body, policy, self._clock.now(), certain=True, grant=grant
            )
        except (
            StoreUnavailable,
            LeaseLost,
        ):  # the store logs it, once for all parts; or another replica posts it
            return None
        self._metrics.decided(OWN_SOURCE, receipt.changes, receipt.decisions)
        self._wake(receipt.wake)
        return receipt
