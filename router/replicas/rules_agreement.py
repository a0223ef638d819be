"""Whether this replica judges by the rules in force. If not, it says so, keeps webhooks, and decides nothing."""

from collections.abc import Callable
from typing import Any

import structlog

from router.core.rules_in_force import SharedRules
from router.metrics import Metrics

log = structlog.get_logger(__name__)


class RulesAgreement:
    """Compares the rules of this replica with those in force, and tells others when that changes."""

    def __init__(self, metrics: Metrics) -> None:
        self.in_force: SharedRules | None = None
        """The rules in force, as this replica last saw them; None: there are none yet."""
        self._metrics = metrics
        self._fingerprint = self._sha256 = ""
        self._observed: tuple[bool, str, str] | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def agrees(self) -> bool:
        """Whether the rules of this replica are those in force."""
        return self.in_force is None or self.in_force.fingerprint == self._fingerprint

    def after_changes(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` each time when this replica, or the rules in force, have changed."""
        self._callbacks.append(notify)

    def observe(self, in_force: SharedRules | None, fingerprint: str, sha256: str) -> None:
        """Compare the rules.

        :param fingerprint: of the rules of this replica, see :attr:`router.decide.Policy.fingerprint`
        :param sha256: of their files
        """
        self.in_force, self._fingerprint, self._sha256 = in_force, fingerprint, sha256
        seen = self.agrees, fingerprint, "" if in_force is None else in_force.fingerprint
        if seen == self._observed:
            return
        did_agree = self._observed is None or self._observed[0]
        self._observed = seen
        self._metrics.rules_in_force(is_agreeing=self.agrees)
        if in_force is not None and not self.agrees:
            log.warning(
                "other rules are in force; this replica keeps webhooks and decides nothing",
                own=sha256, inForce=in_force.sha256, since=in_force.at, by=in_force.actor, replica=in_force.replica,
            )  # fmt: skip
        elif not did_agree:
            log.info("the rules of this replica are in force", inForce=sha256)
        for notify in self._callbacks:
            notify()

    def describe(self) -> dict[str, Any] | None:
        """Return what ``/status`` and the pages show; None: there are no rules yet. Times are epoch milliseconds."""
        rules = self.in_force
        if rules is None:
            return None
        return {
            "agrees": self.agrees, "own_sha256": self._sha256, "sha256": rules.sha256 or None, "at": rules.at or None,
            "actor": rules.actor or None, "replica": rules.replica or None,
        }  # fmt: skip
