"""Tells systemd, or another service manager with its protocol, how the service is.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping

_MICROSECONDS_PER_SECOND = 1_000_000
_START_MICROSECONDS = 15 * 60 * _MICROSECONDS_PER_SECOND
"""As TimeoutStartSec in deploy/systemd: a start may migrate the tables."""


class SystemdNotifier:
    """Sends the states of the service to the socket that the manager names in the environment. Does nothing without one.

    A message that can't be sent is lost: the service does not depend on its manager.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._interval = _watchdog_interval(environ) if self._address is not None else None

    def ready(self) -> None:
        """The service accepts webhooks, at the start or after a reload."""
        self._send("READY=1")

    def waiting(self) -> None:
        """The start waits for the database. Call it before each attempt: the rest of the start has as long as a whole one from
        then on.
        """
        self._send(f"EXTEND_TIMEOUT_USEC={_START_MICROSECONDS}")

    def reloading(self) -> None:
        """The rules are loaded again; :meth:`ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    async def watch(self) -> None:
        """Report at half the interval of the manager's watchdog that the event loop runs. Returns if there is no watchdog.

        The manager kills and restarts a service whose loop hangs.
        """
        while self._interval is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._interval)

    def _send(self, state: str) -> None:
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), self._address)


def _address(name: str) -> str | None:
    """Return the address of the socket. None: there is none, or of a kind that is not supported.

    :param name: a path, or ``@`` and a name in Linux's abstract namespace
    """
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Return half the interval of the watchdog, in seconds. None: there is no watchdog, or it is for another process."""
    interval, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (interval.isascii() and interval.isdecimal()) or int(interval) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(interval) / _MICROSECONDS_PER_SECOND / 2
