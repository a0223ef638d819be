"""Puts rules in force, and judges the firing alerts by them in many batches."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa
import structlog

from router.core.adopt import CURSOR, POLICY, Adopted, Adoption, Phase, Superseded
from router.core.rules_in_force import RULES, SharedRules
from router.decide import Policy
from router.model import Millis
from router.store import jobs
from router.store.database import Database
from router.store.health import StoreUnavailable
from router.store.recording import Recording
from router.store.schema import meta, replicas

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RulesView:
    """The rules in force, and who judges by which rules."""

    in_force: SharedRules | None
    """None: no rules were ever in force."""
    served: frozenset[str]
    """The fingerprints of the rules by which the replicas judge whose sessions have not expired."""
    are_applied: bool
    """Whether all firing alerts were judged by the rules in force."""


class RuleChanges:
    """The rules in force, and how far the firing alerts are judged by them."""

    def __init__(self, database: Database, recording: Recording) -> None:
        self._database = database
        self._recording = recording
        self.indexed = asyncio.Event()
        """Set when the inhibit rules in force know all firing alerts. Nothing is claimed before."""
        self.indexed.set()
        self._adoptions = 0
        """How many times this process put rules in force."""

    def after_others(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` when this process sees that another one has put rules in force."""
        self._database.on_other_rules = notify

    async def view(self) -> RulesView:
        """Return the rules in force, and who judges by which rules."""
        return await self._database.read(_view)

    async def adopt(self, adoption: Adoption, now: Millis) -> Phase | None:
        """Put these rules in force, see :meth:`ask`. Return the phase that is left."""
        return (await self.ask(adoption, now)).left

    async def ask(self, adoption: Adoption, now: Millis) -> Adopted:
        """Ask to judge by these rules: they are put in force, or joined, or others stay in force.

        :returns: also what :meth:`judge_some` still has to do until all firing alerts are judged by them
        """
        if self._database.rules is None:  # whatever becomes of them, it judges by no others
            self._database.rules = adoption.policy.fingerprint
        was_indexed = self.indexed.is_set()
        self.indexed.clear()
        self._adoptions = adoption_number = self._adoptions + 1
        try:
            adopted = await self._database.do(jobs.Adopt(adoption, now))
        except BaseException:
            if was_indexed and adoption_number == self._adoptions:
                self.indexed.set()
            raise
        self._allow_claims(adopted.left, adoption_number)
        return adopted

    async def index(self, policy: Policy, now: Millis) -> None:
        """Help to index all firing alerts for the inhibit rules in force, until that is done."""
        left: Phase | None = Phase.INDEX
        while left is Phase.INDEX:
            left, _ = await self.judge_some(policy, now)

    async def judge_some(self, policy: Policy, now: Millis) -> tuple[Phase | None, frozenset[str]]:
        """Judge the next firing alerts by the rules in force, after the rules changed or the clock was stepped back.

        First, all firing alerts are indexed for the inhibit rules; until then, no destination is notified. Then the
        alerts are judged. The position is stored, so that a restart continues there.

        :returns: what is left to do (None: nothing, or other rules are in force by now), and the keys of the
            destinations to wake
        """
        job, adoption_number = jobs.JudgeSome(policy, now), self._adoptions
        try:
            left, woken = await self._judge_or_skip(job)
        except Superseded:
            if (
                self._database.rules == policy.fingerprint
            ):  # by another replica: the store refuses the claims of this one
                self._allow_claims(None, adoption_number)
            return None, frozenset()
        self._allow_claims(left, adoption_number)
        return left, woken

    async def _judge_or_skip(self, job: jobs.JudgeSome) -> tuple[Phase | None, frozenset[str]]:
        try:
            return await self._database.do(job)
        except (Superseded, StoreUnavailable):
            raise
        except Exception:  # a bug must not stop all other notifications
            log.exception(
                "alerts can't be judged by the new rules; each keeps its last decision until it changes"
            )
            return await self._database.do(replace(job, skip=True))

    def _allow_claims(self, left: Phase | None, adoption_number: int) -> None:
        """Allow claims, unless firing alerts are still to be indexed for the inhibit rules in force.

        :param adoption_number: the adoption that the result belongs to; a result of former rules changes nothing
        """
        if adoption_number == self._adoptions and left is not Phase.INDEX:
            self.indexed.set()

    async def judge_all(self, policy: Policy, now: Millis) -> None:
        """Run :meth:`judge_some` until nothing is left. It takes many batches, so that webhooks come in between."""
        left: Phase | None = Phase.INDEX
        while left is not None:
            left, _ = await self.judge_some(policy, now)

    async def retire(self, policy: Policy, now: Millis) -> dict[str, str]:
        """Close the conversations that a former process left closing, and forget destinations that are not needed.

        Call it when no claim by former rules can come any more, which is once the inhibit rules know all firing alerts.

        :returns: by key, how to reach the destinations that the rules no longer name but that have yet to be notified of
            an end
        """
        await self._recording.close_large(policy, now)
        return await self._database.do(jobs.Retire(policy))


def _view(connection: sa.Connection) -> RulesView:
    rows = connection.execute(
        sa.select(meta.c.key, meta.c.value).where(meta.c.key.in_((POLICY, RULES, CURSOR)))
    )
    found: dict[str, str] = {row.key: row.value for row in rows}
    now = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000, sa.BigInteger)
    served = frozenset[str]()
    if connection.dialect.name != "sqlite":  # where replicas share the database
        served = frozenset(
            connection.execute(sa.select(replicas.c.rules).where(replicas.c.expires_at > now)).scalars()
        )
    return RulesView(SharedRules.read(found.get(POLICY), found.get(RULES)), served, CURSOR not in found)
