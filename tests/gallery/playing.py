"""Plays an incident on a service whose clock stands still between the steps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from router.app import ServeOptions, Service
from router.channels.outbox import Entry
from router.model import SECOND, Millis
from tests.clock import ManualClock
from tests.gallery.incidents import Incident, Step
from tests.world.resting import at_rest

RULES = Path(__file__).parent / "routes.yaml"
# After a step, the clock moves in seconds until all is sent: a rate limit or a storm may take minutes.
_MAX_SECONDS = 1_200


@dataclass(frozen=True, slots=True)
class Played:
    """A step, and the entries of the preview that it added or changed, the oldest first."""

    step: Step
    entries: tuple[Entry, ...]


@asynccontextmanager
async def preview(at: Millis) -> AsyncIterator[tuple[Service, ManualClock]]:
    """Run a preview with the rules of the gallery. :param at: what its clock shows"""
    clock = ManualClock(at)
    options = ServeOptions(RULES, ("127.0.0.1", 0), preview=True, metrics=False, drain=0)
    service = await Service.open(options, {}, clock)
    await service.start()
    try:
        yield service, clock
    finally:
        await service.stop()


async def messages_of(incident: Incident) -> list[Played]:
    """Play an incident in a preview, and return what each step sent."""
    async with preview(incident.steps[0].at - SECOND) as (service, clock):
        assert service.outbox is not None
        played: list[Played] = []
        before: set[tuple[int, int]] = set()
        for step in incident.steps:
            await play(service, clock, step)
            entries = service.outbox.entries
            changed = [each for each in entries if (each.id, each.updates) not in before]
            before = {(each.id, each.updates) for each in entries}
            changed.sort(key=lambda entry: entry.id)
            played.append(Played(step, tuple(changed)))
        return played


async def play(service: Service, clock: ManualClock, step: Step) -> None:
    """Post the webhooks of a step at its time, and wait until all that they cause is sent."""
    clock.advance(max(0, step.at - clock.now()))
    await at_rest(service, clock)
    async with aiohttp.ClientSession() as session:
        for body in step.webhooks:
            async with session.post(f"{service.url}/webhook", json=body) as answer:
                assert answer.status == 200, await answer.text()
            while service.undecided.alerts:  # a large webhook is answered before its alerts are decided
                await service.store.ready()
            await at_rest(service, clock)
    for _ in range(_MAX_SECONDS):
        if not (await service.store.pages.status())["fates"].get("pending"):
            return
        clock.advance(SECOND)
        await at_rest(service, clock)
    raise AssertionError(f"something is still pending {_MAX_SECONDS} s after the step: {step.what}")
