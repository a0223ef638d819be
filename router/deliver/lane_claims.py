"""Counts the claims of one lane. Pure."""

from router.deliver.retry_schedule import next_attempt
from router.model import Millis

MOST = 2
"""How many claims can be under way: one that runs, and one made ahead that waits for the next webhook."""


class LaneClaims:
    """Knows how many claims are under way, and when the next one can be made. Its times are of the monotonic clock."""

    def __init__(self) -> None:
        self.under_way = 0
        self.off_until: Millis = 0
        """No claim is made before this time, because one failed."""
        self._failed = 0
        """How many have failed in a row."""

    def began(self) -> None:
        self.under_way += 1

    def ended(self) -> None:
        self.under_way -= 1

    def succeeded(self) -> None:
        self._failed = 0

    def put_off(self, now: Millis, chance: float, wait: Millis | None) -> None:
        """Make no claim for some time, because one failed.

        :param chance: in [0, 1), drawn by the caller
        :param wait: for how long (ms); None: a time that grows with each failure
        """
        self._failed += 1
        self.off_until = now + wait if wait is not None else next_attempt(self._failed, now, chance)
