"""What the errors of PostgreSQL and its driver mean, in words."""

import errno
import os

import psycopg
from psycopg import errors

from router.store.health import OTHER_TABLES, RESUMES, driver_error
from router.store.postgresql_address import ServiceFileError
from router.store.postgresql_session import NoAnswer, UnexpectedAnswers

_STALLED = (
    "{error}: the router stood still in a transaction, or the server is overloaded; the router tries again"
)
_HANGS = "{error}: check the server, and the network or a proxy before it; the router tries again"
_UNKNOWN = "{error}; see the log of the PostgreSQL server, and report this if it lasts"
_AS_IT_IS = "{error}"
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_MESSAGES_BY_ERROR: dict[type[Exception], str] = {
    errors.DiskFull: f"the server's disk is full; make room, {RESUMES}",
    errors.OutOfMemory: f"{{error}}: the server has no memory left; give it some, {RESUMES}",
    errors.ReadOnlySqlTransaction: (
        f"{{error}}: this server is a standby or read-only; name the primary in --database, or make this one writable, {RESUMES}"
    ),
    errors.InsufficientPrivilege: f"{{error}}; grant that to the user in --database, {RESUMES}",
    errors.LockNotAvailable: (
        "{error}: another session (a replica, a migration or a person) has held a lock for too long; the router tries "
        "again; if it lasts, look for that session in pg_locks and pg_stat_activity"
    ),
    errors.QueryCanceled: "{error}: the server is too slow, or overloaded; the router tries again",
    errors.IdleInTransactionSessionTimeout: _STALLED,
    errors.TransactionTimeout: _STALLED,
    errors.TooManyConnections: (
        f"{{error}}; end other sessions, or raise max_connections or the limit of the user or the database, {RESUMES}"
    ),
    NoAnswer: _HANGS,
    UnexpectedAnswers: "{error}: see the log of the server, and check a pooler or proxy before it; the router tries again",
    errors.ConnectionTimeout: _HANGS,
    errors.UndefinedTable: OTHER_TABLES,
    errors.UndefinedColumn: OTHER_TABLES,
    ServiceFileError: _AS_IT_IS,
}
_SERVER_AWAY = (
    f"{{error}}; start the server, or check the address, the user and the password in --database, {RESUMES}"
)


def undid_transaction(error: Exception) -> bool:
    """Return whether the server reported the error, and the session goes on after it: then the transaction is undone.
    The severities are in https://www.postgresql.org/docs/current/protocol-error-fields.html
    """
    own = driver_error(error)
    return isinstance(own, psycopg.Error) and own.diag.severity_nonlocalized == "ERROR"


def explain(error: BaseException) -> tuple[str, bool]:
    """Return in words what happened and what to do, and whether it may pass without a change of the router.

    :param error: of the driver
    """
    # The lines after the first one contain values of rows.
    said = str(error).strip().split("\n")[0]
    for prefix in ("connection failed: ", "connection is bad: "):
        said = said.removeprefix(prefix)
    # If a connection can't begin, the driver's error has no code. Its text quotes the server, which quotes the operating system.
    kind = errors.DiskFull if _is_refused_by_full_disk(error, said) else type(error)
    words = next((text for known, text in _MESSAGES_BY_ERROR.items() if issubclass(kind, known)), None)
    if words is None:
        words = _SERVER_AWAY if isinstance(error, psycopg.OperationalError) else _UNKNOWN
    return words.format(error=said), words not in {OTHER_TABLES, _UNKNOWN, _AS_IT_IS}


def _is_refused_by_full_disk(error: BaseException, said: str) -> bool:
    return (
        isinstance(error, psycopg.OperationalError)
        and error.sqlstate is None
        and os.strerror(errno.ENOSPC) in said
    )
