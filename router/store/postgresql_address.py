"""Where a PostgreSQL database is: the parameters of libpq in a URL, and in the service file that it names.

The service file is read here and not by libpq, because the driver tries one host after the other, and looks names up without
stopping the process, only if it knows the hosts. https://www.postgresql.org/docs/current/libpq-pgservice.html
"""

import functools
import os
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL

# Where libpq of Debian looks for the file of the whole machine.
_SYSTEM_FOLDER = "/etc/postgresql-common"
# https://www.postgresql.org/docs/current/libpq-envars.html
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


@functools.cache
def taken_service() -> str:
    """Take the service out of the environment, and return it; empty: there is none. libpq would look for it again, in a file
    that may be another one, and refuse every connection.
    """
    return os.environ.pop("PGSERVICE", "")


class ServiceFileError(psycopg.OperationalError):
    """A service file can't be read, or has no such service."""


class Address:
    """The parameters of a connection.

    :param url: see :func:`router.store.backend.open_backend`
    """

    def __init__(self, url: URL) -> None:
        url = url.set(drivername="postgresql+psycopg")
        _, self._given = url.get_dialect()().create_connect_args(url)
        self._service = taken_service()

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for a connection that is opened now. Those of the URL win over those of the service file, which
        is read each time, so a password that was changed in it is used.

        :raises ServiceFileError: it can't be read
        """
        found: dict[str, Any] = {
            name: value[0] if isinstance(value, tuple) else value for name, value in self._given.items()
        }
        file = found.pop("servicefile", None)
        service = found.pop("service", None) or self._service
        if service:
            found = _read_service(str(service), file) | found
        # With several hosts, only one of them can write.
        if "," in _value(found, "host") + _value(found, "hostaddr") and not _value(
            found, "target_session_attrs"
        ):
            found["target_session_attrs"] = "read-write"
        return found

    def name(self) -> str:
        """Return the servers and the database, for people, without secrets.

        :raises ServiceFileError: see :meth:`parameters`
        """
        found = self.parameters()
        hosts = (_value(found, "host") or _value(found, "hostaddr") or "localhost").split(",")
        ports = _value(found, "port").split(",")
        if len(ports) == 1:
            ports *= len(hosts)
        servers = [
            f"{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
            for host, port in zip_longest(hosts, ports[: len(hosts)], fillvalue="")
        ]
        return f"postgresql://{','.join(servers)}/{_value(found, 'dbname') or _value(found, 'user')}"


def _value(parameters: Mapping[str, Any], name: str) -> str:
    """Return a parameter, or libpq's variable of the environment; empty: it is not set."""
    return str(parameters.get(name) or os.environ.get(_VARIABLES.get(name, ""), ""))


def _read_service(service: str, file: str | None) -> dict[str, str]:
    """Return the parameters of a service: of the user's file, else of the machine's.

    :param file: None: libpq's rules say which file it is
    :raises ServiceFileError: there is no such service, or its file can't be read
    """
    named = file or os.environ.get("PGSERVICEFILE") or None
    # Without a home, the path stays as it is, and there is no such file.
    own = Path(named or os.path.expanduser("~/.pg_service.conf"))  # noqa: PTH111
    shared = Path(os.environ.get("PGSYSCONFDIR") or _SYSTEM_FOLDER, "pg_service.conf")
    for path in (own, shared):
        is_named = named is not None and path == own
        if (is_named or os.access(path, os.F_OK)) and (found := _section(path, service)) is not None:
            return found
    raise ServiceFileError(
        f"the service {service!r} is neither in {own} nor in {shared}; add it, or name another file in PGSERVICEFILE"
    )


def _section(path: Path, service: str) -> dict[str, str] | None:
    """Return the parameters of a service in a file; None: it has no such service. No error shows a line, because it may have a
    password.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ServiceFileError(f"the service file {path} can't be read: {reason}") from None
    found: dict[str, str] | None = None
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if found is not None:
                break
            found = {} if line.startswith(f"[{service}]") else None
        elif found is not None:
            name, sign, value = line.partition("=")
            if not sign or name in {"service", "servicefile"} or name not in _keywords():
                raise ServiceFileError(
                    f"the service file {path}, line {number}, is not a parameter of libpq=value"
                )
            found.setdefault(name, value)
    return found


def _keywords() -> frozenset[str]:
    """Return the names of libpq's parameters."""
    return frozenset(each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults())
