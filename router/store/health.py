"""Knows whether the store can be written, and logs when that changes."""

import time
from collections.abc import Callable
from typing import Literal

import structlog

from router.model import SECOND, Millis

log = structlog.get_logger(__name__)

CountError = Callable[[Literal["read", "write"]], None]
"""Called once for each read, and each batch of writes, that fails because of the database."""

RESUMES = "then the router resumes by itself"
OTHER_TABLES = "{error}: the database has no tables of this version; `alert-router serve` makes them, or updates older ones"
RETRY_AFTER_FAILED_WRITE: Millis = 2 * SECOND
"""How long callers wait before the next attempt when the store can't be written (ms)."""


def driver_error(error: BaseException) -> BaseException:
    """Return the error of the database's driver, which SQLAlchemy wraps; any other error is returned as it is."""
    return getattr(error, "orig", None) or error


class StoreUnavailable(Exception):  # noqa: N818  (it names a state of the store)
    """The store can't be used now: a full queue or disk, a lock, a server that is down, or the store is closing.

    :param reason: what happened, where, and what to do
    :param damaged: the database is damaged, so no attempt can succeed until an operator has repaired it
    :param passes: an attempt may succeed later although nobody has changed this process or its options
    """

    def __init__(self, reason: str, *, damaged: bool = False, passes: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged
        self.passes = passes


class RulesReplaced(StoreUnavailable):
    """Another replica has put other rules in force, so nothing can be judged here."""

    def __init__(self) -> None:
        super().__init__(
            "other rules are in force than those of this replica, so it decides nothing; give it the same files, or ask a "
            "replica that agrees with the rules in force"
        )


class WorkLost(StoreUnavailable):
    """Another replica does this work by now, so nothing of it may be written here."""

    def __init__(self) -> None:
        super().__init__("another replica does this work by now")


class StoreBusy(Exception):  # noqa: N818  (as StoreUnavailable)
    """Others are asking for the same expensive work already. The message says what to do."""


class Health:
    """Logs once that the store can't be written, and once that it is writable again. Call it in the event loop's thread.

    :param name: the name of the database, for people
    """

    def __init__(self, name: str, count_error: CountError) -> None:
        self.count_error = count_error
        self.error: StoreUnavailable | None = None
        """Why the store can't be written; None while it can."""
        self._name = name
        self._since = 0.0
        self._refused = 0

    @property
    def damaged(self) -> bool:
        """Whether the database is damaged, so that no attempt can succeed."""
        return self.error is not None and self.error.damaged

    def write_failed(self, error: StoreUnavailable) -> None:
        """Remember the error. Log it if it is the first one since the store was writable, or if the database is damaged."""
        if self.damaged:
            return
        if self.error is None:
            self._since = time.monotonic()
        if self.error is None or error.damaged:
            log.error(
                "the store can't be written; webhooks are refused, and no notification is sent", reason=str(error)
            )  # fmt: skip
        self.error = error

    def batch_failed(self, error: StoreUnavailable) -> None:
        """Count a batch of writes that failed, see :meth:`write_failed`."""
        self.count_error("write")
        self.write_failed(error)

    def webhook_refused(self, error: StoreUnavailable) -> None:
        """Count a webhook that was refused. The count is logged when the store is writable again."""
        self.write_failed(error)
        self._refused += 1

    def write_succeeded(self) -> None:
        """Log that the store is writable again, if it was not. Call it when something was committed."""
        if self.error is not None and not self.error.damaged:
            duration = round((time.monotonic() - self._since) * SECOND)
            log.warning(
                "the store can be written again", database=self._name, durationMs=duration, refused=self._refused
            )  # fmt: skip
            self.error, self._refused = None, 0
