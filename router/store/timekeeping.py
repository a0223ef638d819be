"""Records that the router runs, and handles steps of the clock in many batches."""

from functools import partial

from router.decide import Policy
from router.model import Millis
from router.store import clock_steps, jobs
from router.store.database import Database
from router.store.rule_changes import RuleChanges


class Timekeeping:
    """Keeps in the store since when the router has been running, and handles steps of the clock."""

    def __init__(self, database: Database, rules: RuleChanges) -> None:
        self._database = database
        self._rules = rules

    async def begin_counting(self, policy: Policy, now: Millis) -> Millis:
        """Begin to count the time after a start, under these rules.

        If the clock was stepped back meanwhile, the firing alerts are left to
        :meth:`~router.store.rule_changes.RuleChanges.judge_some`.

        :returns: since when time has passed without a gap (epoch ms)
        """
        # A process that has ended may have left a step unfinished.
        await self._finish_step(policy, now, judging=False)
        down, since = await self._database.do(jobs.BeginCounting(now))
        if down is None:
            return since
        await self._step(policy, now, back=down < 0, judging=False)
        return now

    async def heartbeat(self, policy: Policy, now: Millis) -> bool:
        """Record that the router runs; call it at least once in :data:`~router.core.uptime.BEAT`.

        It also finishes a step of the clock that could not be finished before.

        :returns: whether there was such a step; then all lanes have to look for due deliveries again
        """
        await self._database.do(jobs.RecordUptime(now))
        return await self._finish_step(policy, now)

    async def watch(self, policy: Policy, now: Millis, *, has_run: bool, judging: bool) -> Millis:
        """Record that this replica runs, and handle a step of the clock, or a time in which no replica ran. Call it at least once
        in :data:`~router.core.uptime.BEAT`. The time in which only this replica could not write does not matter.

        :param has_run: this replica has run and written all the time since the last call, and saw no step
        :param judging: see :meth:`_finish_step`
        :returns: since when time has passed without a step, or without a time in which no replica ran (epoch ms)
        """
        since = await self._database.do(jobs.WatchUptime(now, has_run))
        await self._finish_step(policy, now, judging=judging)
        return since

    async def step_clock(self, policy: Policy, now: Millis, *, back: bool) -> Millis:
        """Handle a step of the clock to ``now``, or a time in which the router could not receive anything.

        :param back: the clock was stepped back
        :returns: since when time has passed without a gap: ``now``
        """
        await self._step(policy, now, back=back)
        return now

    async def _step(self, policy: Policy, now: Millis, *, back: bool, judging: bool = True) -> None:
        await self._database.write(partial(clock_steps.begin_step, now=now, back=back))
        await self._finish_step(policy, now, judging=judging)

    async def _finish_step(self, policy: Policy, now: Millis, *, judging: bool = True) -> bool:
        """Finish the step of the clock that is under way, if there is one. It takes many batches, so that webhooks come
        in between. Its last stage is left to a process whose rules are in force.

        :param judging: judge the firing alerts by the new time; otherwise they are left to
            :meth:`~router.store.rule_changes.RuleChanges.judge_some`
        :returns: whether there was one
        """
        found = False
        while (step := await self._database.write(partial(clock_steps.step_some, now=now))) is not None:
            found = True
            if step.table == clock_steps.RULES:
                if not await self._database.do(jobs.OpenSlots(policy, now)):
                    return found
                # If other rules come into force after this, their adoption opens the slots and judges all alerts again.
                if judging:
                    await self._rules.judge_all(policy, now)
                await self._database.write(partial(clock_steps.finish_step, step=step))
        return found
