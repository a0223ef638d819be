"""Receives notices of other replicas through PostgreSQL. A lost notice only delays the work, which is also polled for.

https://www.postgresql.org/docs/current/sql-notify.html
"""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog

from router.store.notices import CHANNEL

log = structlog.get_logger(__name__)

# How often the thread looks whether it is to end, and how long it waits before it connects again.
_LOOK_SECONDS, _AGAIN_SECONDS = 0.5, 1.0


class Listener:
    """A thread with a connection of its own.

    :param connect: opens a connection of the driver
    :param hear: called in the thread with each notice; with an empty text after each connect, because notices may have been
        missed
    """

    def __init__(self, connect: Callable[[], "psycopg.Connection[Any]"], hear: Callable[[str], None]) -> None:
        self._connect = connect
        self._hear = hear
        self._end = threading.Event()
        self.is_connected = False
        self._thread = threading.Thread(target=self._serve, name="store-listen", daemon=True)
        self._thread.start()

    def close(self, within: float) -> None:
        """End the thread. :param within: seconds; if it is stuck for longer, it ends with the process"""
        self._end.set()
        self._thread.join(within)

    def _serve(self) -> None:
        is_logged = False
        while not self._end.is_set():
            try:
                with self._connect() as connection:
                    connection.autocommit = True
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    self.is_connected, is_logged = True, False
                    self._hear("")
                    while not self._end.is_set():
                        for notice in connection.notifies(timeout=_LOOK_SECONDS):
                            self._hear(notice.payload)
            except (psycopg.Error, sa.exc.DBAPIError) as error:
                if not is_logged:
                    reason = str(error).strip().partition("\n")[0]
                    log.warning(
                        "notices of other replicas do not arrive; their changes are read from the database every few seconds",
                        reason=reason,
                    )
                    is_logged = True
            except Exception:  # the thread has to go on
                log.exception("what other replicas tell could not be heard; the connection is made again")
            finally:
                self.is_connected = False
            self._end.wait(_AGAIN_SECONDS)
