"""Bounds how many refused actions of one user are written to the log of actions."""

from collections import OrderedDict

from router.model import MINUTE, Millis

MAX_LINES = 30
LINES_SPAN: Millis = 10 * MINUTE
_MAX_ACTORS = 1_024


class RefusedLines:
    """Counts the refused actions of each user. So a user whose role does not suffice can't fill the table."""

    def __init__(self) -> None:
        self._written: OrderedDict[tuple[str, str], tuple[Millis, int]] = OrderedDict()
        """By name and way of recognition: until when the lines count, and how many there are."""

    def may_write(self, actor: str, via: str, now: Millis) -> bool:
        """Return whether another line of a user is written; it then counts."""
        until, count = self._written.get((actor, via), (0, 0))
        if until <= now:
            until, count = now + LINES_SPAN, 0
        if count >= MAX_LINES:
            return False
        self._written[actor, via] = (until, count + 1)
        self._written.move_to_end((actor, via))
        if len(self._written) > _MAX_ACTORS:
            self._written.popitem(last=False)
        return True
