"""Whether the store can be written."""

import time

import structlog

from router.model import SECOND, Millis

log = structlog.get_logger(__name__)

RESUMES = "and it goes on by itself"
RETRY_AFTER_FAILED_WRITE: Millis = 2 * SECOND
"""How long nothing is tried when the store can't be written."""


class StoreUnavailable(Exception):  # noqa: N818  (a state of the store, said as such)
    """The store can't be written now: full queue, full disk, a lock, a server that is away, or closing.

    ``damaged``: nor ever again, until somebody has mended it.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


class Health:
    """Says once that the store can't be written, and once that it can again. Of the event loop's thread.

    :param name: of the database, for people
    """

    def __init__(self, name: str) -> None:
        self.error: StoreUnavailable | None = None
        """Why it can't be written; None while it can."""
        self._name = name
        self._since = 0.0
        self._refused = 0

    @property
    def damaged(self) -> bool:
        return self.error is not None and self.error.damaged

    def write_failed(self, error: StoreUnavailable) -> None:
        if self.damaged:
            return
        if self.error is None:
            self._since = time.monotonic()
        if self.error is None or error.damaged:
            log.error(
                "the store can't be written; webhooks are refused, and nobody is told anything", reason=str(error)
            )  # fmt: skip
        self.error = error

    def webhook_refused(self, error: StoreUnavailable) -> None:
        """A webhook was."""
        self.write_failed(error)
        self._refused += 1

    def write_succeeded(self) -> None:
        """Something was committed."""
        if self.error is not None and not self.error.damaged:
            seconds = round(time.monotonic() - self._since, 1)
            log.warning(
                "the store can be written again", database=self._name, seconds=seconds, refused=self._refused
            )  # fmt: skip
            self.error, self._refused = None, 0
