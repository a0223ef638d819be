"""The preview: the same service, with an outbox in place of every provider, a throw-away database and a movable clock."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from router import sample
from router.active_config import ActiveConfig
from router.channels.outbox import Entry, Outbox
from router.clock import Clock, SystemClock
from router.digest_drafts import DigestDrafts
from router.model import Millis
from router.store import Store
from router.web.preview_pages import PreviewContext


@contextmanager
def throwaway_database() -> Iterator[str]:
    """Yield the URL of a database that is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="alert-router-preview-") as folder:
        yield f"sqlite:///{folder}/router.db"


def start_on_friday_night(clock: SystemClock, timezone: str) -> None:
    """Move the clock to the time of the sample incident. Call it before any other part has read the clock."""
    now = clock.now()
    clock.shift(sample.friday_night(now, timezone) - now)


class Preview:
    """Provides what the preview's page shows."""

    def __init__(
        self, outbox: Outbox, store: Store, clock: Clock, active: ActiveConfig, drafts: DigestDrafts
    ) -> None:
        self.context = PreviewContext(outbox, active.timezone, self._digests, self._jumps)
        self._store = store
        self._clock = clock
        self._active = active
        self._drafts = drafts

    async def _digests(self) -> list[Entry]:
        """Return every digest as it would be sent now."""
        destinations = self._active.policy().destinations.values()
        return [(await self._drafts.draft(each)).entry for each in destinations if each.digest]

    async def _jumps(self) -> list[tuple[str, Millis]]:
        """Return the times (epoch ms) at which something happens by itself, with a label each; the next one is first."""
        now = self._clock.now()
        opening = await self._store.presence.next_opening(now)
        jumps = [] if opening is None else [("next opening", opening)]
        slots = [schedule.next(now) for schedule in self._active.policy().schedules.values()]
        jumps += [("next digest", at) for at in sorted(slots)[:1]]
        return sorted(jumps, key=lambda jump: jump[1])
