"""The connections of one attempt at PagerDuty, which another thread can cut.

requests bounds the time to connect and the silence between two pieces of an answer. It bounds neither a name server
that does not answer nor an answer that drips, so the thread that waits for them has to be ended from outside.
"""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter


class Line(HTTPAdapter):
    """For one attempt: nothing is sent over it once it is cut, not even by a thread that is still looking up a name."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        """:param tls: what verifies servers, besides requests' own authorities; None: those alone"""
        self._tls = tls
        super().__init__()
        self._changing = threading.Lock()
        self._is_cut = False
        self._sockets: list[socket.socket] = []

    def serve(self, session: requests.Session) -> None:
        """All that the session sends from now on goes over this."""
        for scheme in ("https://", "http://"):
            session.mount(scheme, self)

    def cut(self) -> None:
        """End whatever is under way; of any thread."""
        with self._changing:
            self._is_cut = True
            for each in self._sockets:
                with suppress(OSError), each:
                    each.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=self._tls, proxy_ssl_context=self._tls)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        line = self

        class Connection(pool.ConnectionCls):  # type: ignore[misc]  # (the pool chooses it: for http, https, a proxy)
            def _new_conn(self) -> socket.socket:
                made: socket.socket = super()._new_conn()
                line._take(made)
                return made

        pool.ConnectionCls = Connection
        return pool

    def _take(self, made: socket.socket) -> None:
        """A socket is known by a copy of its descriptor: TLS takes the socket itself out of our hands."""
        with self._changing:
            if self._is_cut:
                made.close()
                raise requests.ConnectionError("the attempt is over")
            self._sockets.append(made.dup())
