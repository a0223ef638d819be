"""Puts rules in force, and judges the firing alerts by them in many batches."""

import asyncio
from dataclasses import replace

import structlog

from router.core.adopt import Adoption, Phase, Superseded
from router.decide import Policy
from router.model import Millis
from router.store import jobs
from router.store.health import StoreUnavailable
from router.store.recording import Recording
from router.store.writer import Database

log = structlog.get_logger(__name__)


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

    async def adopt(self, adoption: Adoption, now: Millis) -> Phase | None:
        """Put these rules in force.

        :returns: what :meth:`judge_some` still has to do until all firing alerts are judged by them; None: nothing
        """
        was_indexed = self.indexed.is_set()
        self.indexed.clear()
        self._adoptions = adoption_number = self._adoptions + 1
        try:
            left = await self._database.do(jobs.Adopt(adoption, now))
        except BaseException:
            if was_indexed and adoption_number == self._adoptions:
                self.indexed.set()
            raise
        self._allow_claims(left, adoption_number)
        return left

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
