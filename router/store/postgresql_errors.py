"""What the errors of PostgreSQL and its driver mean, in words."""

import psycopg
from psycopg import errors

from router.store.health import RESUMES
from router.store.postgresql_address import ServiceFileError
from router.store.postgresql_session import NoAnswer

_STALLED = (
    "{error}: the router stood still in a transaction, or the server is overloaded; the router tries again"
)
_HANGS = "{error}: the server, or the network or a proxy before it, hangs; the router tries again"
_OTHER_VERSION = "{error}: it is of another version; `alert-router serve` brings it up to date"
_UNEXPECTED = "{error}"
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_MESSAGES_BY_ERROR: dict[type[Exception], str] = {
    errors.DiskFull: f"the server's disk is full; make room, {RESUMES}",
    errors.OutOfMemory: f"{{error}}: the server has no memory left; give it some, {RESUMES}",
    errors.ReadOnlySqlTransaction: (
        f"{{error}}: it is a standby, or read-only; give the primary, or make it writable, {RESUMES}"
    ),
    errors.InsufficientPrivilege: f"{{error}}; grant that to the user in --database, {RESUMES}",
    errors.LockNotAvailable: f"{{error}}: another session has locked it; end that session, {RESUMES}",
    errors.QueryCanceled: "{error}: the server is too slow, or overloaded; the router tries again",
    errors.IdleInTransactionSessionTimeout: _STALLED,
    errors.TransactionTimeout: _STALLED,
    errors.TooManyConnections: (
        f"{{error}}; end other sessions, or raise max_connections or the limit of the user or the database, {RESUMES}"
    ),
    NoAnswer: _HANGS,
    errors.ConnectionTimeout: _HANGS,
    errors.UndefinedTable: _OTHER_VERSION,
    errors.UndefinedColumn: _OTHER_VERSION,
    ServiceFileError: _UNEXPECTED,
}
_SERVER_AWAY = (
    f"{{error}}; start the server, or check the address, the user and the password in --database, {RESUMES}"
)


def explain(error: BaseException) -> tuple[str, bool]:
    """Return in words what happened and what to do, and whether it may pass without a change of the router.

    :param error: of the driver
    """
    # The lines after the first one contain values of rows.
    said = str(error).strip().split("\n")[0].removeprefix("connection failed: ").removeprefix("connection ")
    words = next((text for kind, text in _MESSAGES_BY_ERROR.items() if isinstance(error, kind)), None)
    if words is None:
        words = _SERVER_AWAY if isinstance(error, psycopg.OperationalError) else _UNEXPECTED
    return words.format(error=said), words not in {_OTHER_VERSION, _UNEXPECTED}
