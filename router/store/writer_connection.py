"""The writer's connection: it runs transactions, and finds out whether a commit succeeded whose answer was lost."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog

from router.core.settled import BatchEvents
from router.store.backend import Backend
from router.store.batch import Batch, JobResult
from router.store.health import StoreUnavailable
from router.store.row_writes import BatchId
from router.store.starts import probe

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Committed:
    """What a transaction did besides the results of its jobs."""

    events: list[BatchEvents] = field(default_factory=list)
    """What objectives and tenants count."""
    wrote: bool = False
    """It wrote something; checked only if that was asked for."""


class CommitWithoutAnswer(Exception):  # noqa: N818  (a state of a transaction)
    """The connection was lost at a commit, so nobody knows yet whether it succeeded; see :meth:`WriterConnection.find_out`."""

    def __init__(self, committed: Committed) -> None:
        super().__init__("a commit had no answer")
        self.committed = committed


class WriterConnection:
    """The only connection that writes. It opens a new one when the connection is lost. Call it in one thread at a time."""

    def __init__(self, backend: Backend, make_batch: Callable[[sa.Connection], Batch]) -> None:
        """:param make_batch: returns the batch of a transaction"""
        self._backend = backend
        self._make_batch = make_batch
        self._connection: sa.Connection | None = None
        """None: the next transaction opens a new one."""
        self._writer = secrets.token_hex(8)
        self._batches = 0
        self._unknown: BatchId | None = None
        """The batch of which it is not known whether it was committed."""

    def open(self) -> sa.Connection:
        """Return the open connection. :raises StoreUnavailable: another router writes"""
        if self._connection is None:
            self._connection = self._backend.open_writer()
        return self._connection

    def check(self) -> None:
        """Check that the database is writable, see :func:`router.store.starts.probe`."""
        connection = self.open()
        with connection.begin():
            probe(connection)

    def run(self, results: Sequence[JobResult], *, notes_writes: bool) -> Committed:
        """Run jobs in one transaction.

        :param notes_writes: check whether the transaction writes something
        :raises CommitWithoutAnswer: it may be committed; no other transaction may run before :meth:`find_out` knows
        :raises Exception: nothing of it is committed
        """
        self._backend.check_not_moved()
        connection, committed = self.open(), Committed()
        driver = connection.connection.driver_connection
        self._batches += 1
        id_ = BatchId(self._writer, self._batches)
        try:
            with connection.begin():
                before = self._backend.write_count(driver) if notes_writes else 0
                batch = self._make_batch(connection)
                batch.run(results)
                committed.events = batch.events
                if notes_writes:
                    batch.flush()
                    committed.wrote = self._backend.write_count(driver) > before
                batch.finish(id_)
        except Exception as error:
            if not self._backend.is_commit_unknown(driver, error):
                raise
            reason = str(self._backend.explain_error(error))
        else:
            if not self._backend.is_unreplicated(driver):
                return committed
            reason = "the wait for the standby was cancelled"
        log.warning("a commit had no answer", database=self._backend.name, reason=reason)
        self._unknown = id_
        self.close()
        raise CommitWithoutAnswer(committed)

    def find_out(self) -> bool:
        """Return whether the batch without an answer was committed.

        Its session may live on in the server, so this waits for the lock that it holds. The write makes the server wait for
        its standbys, if it has synchronous ones: what was committed before is there, too, when that has an answer.

        :raises StoreUnavailable: that is not known yet
        """
        assert self._unknown is not None  # noqa: S101  (narrows the type)
        try:
            connection = self.open()
            with connection.begin():
                was_committed = self._backend.has_committed(connection, self._unknown)
                probe(connection)
            is_everywhere = not self._backend.is_unreplicated(connection.connection.driver_connection)
        except BaseException as error:
            self.close()
            if isinstance(error, StoreUnavailable):
                raise
            raise self._backend.explain_error(error) from error
        if not is_everywhere:
            self.close()
            raise StoreUnavailable(f"{self._backend.name}: its standby has not confirmed the last commit")
        self._unknown = None
        log.warning(
            "it is known whether the commit succeeded", database=self._backend.name, succeeded=was_committed
        )
        return was_committed

    def failed(self, error: BaseException) -> None:
        """Close the connection after an error if it is broken, in a transaction, or leads to the wrong server."""
        if not self._is_usable() or self._backend.is_wrong_server(error):
            self.close()

    def _is_usable(self) -> bool:
        connection = self._connection
        if connection is None or connection.invalidated or connection.in_transaction():
            return False
        try:
            return not self._backend.in_transaction(connection.connection.driver_connection)
        except Exception:  # noqa: BLE001  (then the connection is broken)
            return False

    def close(self) -> None:
        """Close the connection, so that the next transaction opens a new one."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        for end in (connection.invalidate, connection.close):
            with suppress(Exception):  # the connection has ended already
                end()
