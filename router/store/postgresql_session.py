"""A session with a PostgreSQL server: its settings, and how long it waits for an answer."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from psycopg.abc import RV, PQGen
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

from router.store.backend import LONGEST_BATCH
from router.store.postgresql_rows import NEVER, PREPARED_STATEMENTS

ANSWER_SECONDS = 5.0
"""How long a reader waits for an answer outside of a transaction: to a ping, or to the beginning of a transaction."""
_HAS_TRANSACTION_TIMEOUT = 170000
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
# They end waits for a server that is down. A server, proxy or network that accepts bytes and answers nothing is noticed by
# :meth:`Session.wait` only.
CONNECT_TIMEOUTS = {
    "connect_timeout": 5,  # seconds, for each host of the URL
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a session is for."""

    settings: Mapping[str, str]
    """The server's settings, which free its locks if the router is stalled."""
    idle_seconds: float
    """How long the router waits for an answer that begins a transaction; longer than the server's own limits, so that its
    error arrives first."""
    seconds: float
    """How long it waits inside a transaction."""


# https://www.postgresql.org/docs/current/runtime-config-client.html: the *_timeout settings, plan_cache_mode
# https://www.postgresql.org/docs/current/runtime-config-connection.html#RUNTIME-CONFIG-TCP-SETTINGS: tcp_*, the server's side.
# tcp_user_timeout also ends a send to a client that reads nothing; nothing else does.
_SETTINGS = {
    "default_transaction_isolation": "read committed",
    # A plan is made for each execution: a generic plan from a time when a table was small would be kept while it grows.
    # `postgresql_rows` says which statements are an exception.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",  # compiling a plan takes longer than any of the queries
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# A router that stands still in a batch holds the lock for 3 s if the server waits for its next statement, and for LONGEST_BATCH
# if it stands still while it sends one (transaction_timeout, from the moment that a batch has the lock; PostgreSQL 17 and newer).
# A router that waits for the lock waits longer than that, and for the statement that waits longest. Its own limit is the last
# one, so that it gets the server's error.
WRITES = Purpose(
    _SETTINGS
    | {"idle_in_transaction_session_timeout": "3s", "lock_timeout": "10s", "statement_timeout": "12s"},
    idle_seconds=15,
    seconds=15,
)
READS = Purpose(
    _SETTINGS
    | {"idle_in_transaction_session_timeout": "60s", "lock_timeout": "10s", "statement_timeout": "30s"},
    idle_seconds=ANSWER_SECONDS,
    seconds=35,
)
# With ``off`` the server answers a commit before it is on its disk. Other values are the operator's choice.
# https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT
_DURABLE = (
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' "
    "ELSE current_setting('synchronous_commit') END, {local})"
)


_OPTION = re.compile(r"(?:^|\s)(?:-c\s*|--)([\w.-]+)\s*=")


class NoAnswer(psycopg.OperationalError):
    """The server has not answered in time. The session is closed."""


class OtherServer(psycopg.OperationalError):
    """The session is with a server that may serve no more. It is closed."""


class UnexpectedAnswers(psycopg.OperationalError):
    """The server has sent more answers than there were statements. The session is closed."""


class Session(psycopg.Connection[Any]):
    """A connection of the driver that waits for no answer forever."""

    purpose = READS
    is_pooled = False
    """A pooler such as PgBouncer is between the router and the server. In its transaction mode each transaction may get another
    server connection, so settings and prepared statements must not outlast a transaction."""
    chosen: Collection[str] = ()
    """The names of the settings in ``options`` of the URL, which are left as they are."""
    is_outdated: Callable[[], bool] = staticmethod(lambda: False)
    """Returns whether the writer has opened another connection since, maybe to another server."""
    is_unlimited = False
    """Whether its present transaction has no time limit, as for a migration, an export or an import."""
    hears_notices = False
    """It waits for notices of other sessions, however long none come."""
    _sends_together = False
    head: tuple[Any, float, float] | None = None
    """The row of the head that the beginning of a batch has read, until the batch takes it; and when it was asked for, and was
    there (seconds, ``time.monotonic``)."""
    committing: psycopg.Cursor[Any] | None = None
    """The cursor with which the COMMIT of the present batch was sent; None: no COMMIT was sent yet."""
    unreplicated = False
    """The server committed something without waiting for its standby, because somebody cancelled the wait."""

    def begin(self, purpose: Purpose, chosen: Collection[str]) -> None:
        """Prepare a new session. :param chosen: see :attr:`chosen`"""
        self.purpose, self.chosen = purpose, chosen
        self.add_notice_handler(self._noticed)
        self.autocommit = True
        (backend,) = self.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        # A pooler makes up the process id of a session, because its server connections change.
        self.is_pooled = backend != self.info.backend_pid
        if self.is_pooled:
            self.prepare_threshold = None
        else:
            self.prepare_threshold, self.prepared_max = NEVER, PREPARED_STATEMENTS
            self.execute(f"SELECT {_set_config(purpose.settings, chosen, local=False)}".encode())
        self.autocommit = False

    def has_answered_commit(self) -> bool:
        """Return whether the server has answered that the present batch is committed. An error may still follow the answer: an
        administrator may cancel the statement while the server logs how long it took.
        """
        return self.committing is not None and self.committing.statusmessage == "COMMIT"

    def limit_of_batch(self) -> str:
        """Return SQL of a column that limits the time of a transaction from now on. Servers before 17 can't.
        https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-TRANSACTION-TIMEOUT
        """
        can = self.info.server_version >= _HAS_TRANSACTION_TIMEOUT
        if self.is_unlimited or not can or "transaction_timeout" in self.chosen:
            return "''"
        return f"set_config('transaction_timeout', '{LONGEST_BATCH}ms', true)"

    def settings_of_transaction(self) -> str:
        """Return SQL for the beginning of a transaction; empty: the session has its settings already."""
        if not self.is_pooled:
            return ""
        settings = {name: value for name, value in self.purpose.settings.items() if "tcp_" not in name}
        return f"SELECT {_set_config(settings, (), local=True)}"

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the statements that are executed meanwhile together; this takes one round trip.

        :raises psycopg.Error: of the first statement that failed; those after it were not run
        """
        has_block_failed = False
        try:
            with self.pipeline() as sent:
                self._sends_together = True
                try:
                    yield
                except BaseException:
                    has_block_failed = True
                    # The statements after the first error fail, too. That is neither raised nor logged.
                    with suppress(Exception):
                        sent.sync()
                    raise
                finally:
                    self._sends_together = False
        except BaseException as error:
            if self.pgconn.pipeline_status != PipelineStatus.OFF:
                self.close()  # it can't run anything any more
            said = error.__context__
            is_drivers = isinstance(error, psycopg.Error) and error.sqlstate is None
            if is_drivers and isinstance(said, psycopg.Error) and said.sqlstate is not None:
                raise said from None  # the server ended the session; the driver's own error says less
            if isinstance(error, IndexError) and not has_block_failed:
                # The driver takes a statement from its queue for each answer, so it raises this if the server says something
                # after the answer to the last one.
                # https://github.com/psycopg/psycopg/blob/3.3.0/psycopg/psycopg/_pipeline_base.py: _communicate_gen
                self.close()
                raise UnexpectedAnswers("the server sent more answers than there were statements") from error
            raise

    def rollback(self) -> None:
        """Roll back, unless the session has ended: then the server does. The caller keeps the error that ended it."""
        if not self.closed:
            super().rollback()

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server, for a limited time.

        :raises NoAnswer: the time is over; the session is closed, and nobody knows what the server did
        :raises OtherServer: the writer has connected again since this session began, and may use another server now. The session
            is closed. This is checked only while no transaction runs
        """
        is_idle = self.pgconn.transaction_status == TransactionStatus.IDLE
        if is_idle and self.is_outdated():
            self.close()
            raise OtherServer("another server may serve by now")
        limit = self.purpose.idle_seconds if is_idle else self.purpose.seconds
        own = None
        if timeout is None and not self.hears_notices and (is_idle or not self.is_unlimited):
            timeout = own = limit
        if self._sends_together:
            gen = self._waiting_less(gen)
        try:
            return super().wait(gen, interval, timeout)
        except errors._WaitTimeout:  # noqa: SLF001  (psycopg has no public name for it)
            if own is None:  # the caller expects that nothing comes
                raise
            self.close()
            raise NoAnswer(f"the server has not answered within {limit:g} s") from None

    def _waiting_less(self, gen: PQGen[RV]) -> PQGen[RV]:
        """Run what the driver does to send a statement, and wait only while the socket accepts no more bytes.

        The driver itself waits before and after each statement of a pipeline. In each wait, another thread gets the lock of
        the interpreter, and then the writer's thread has to wait until it gets the lock back.
        """
        try:
            wanted = next(gen)
            while True:
                is_sent = wanted & Wait.W and self.pgconn.flush() == 0
                wanted = gen.send(Ready.W if is_sent else (yield wanted))
        except StopIteration as end:
            result: RV = end.value
            return result

    def _noticed(self, notice: errors.Diagnostic) -> None:
        # https://github.com/postgres/postgres/blob/master/src/backend/replication/syncrep.c: "The transaction has already
        # committed locally, but might not have been replicated to the standby." Its words depend on the server's language.
        if notice.source_function == "SyncRepWaitForLSN":
            self.unreplicated = True


def chosen_settings(options: str) -> frozenset[str]:
    """Return the names of the settings in libpq's parameter ``options``, like ``-c lock_timeout=5s --jit=off``.
    https://www.postgresql.org/docs/current/app-postgres.html
    """
    return frozenset(name.replace("-", "_").lower() for name in _OPTION.findall(options))


def _set_config(settings: Mapping[str, str], chosen: Collection[str], *, local: bool) -> str:
    how = str(local).lower()
    items = [
        f"set_config('{name}', '{value}', {how})" for name, value in settings.items() if name not in chosen
    ]
    return ", ".join([*items, _DURABLE.format(local=how)])
