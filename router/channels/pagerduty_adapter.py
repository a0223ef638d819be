"""The connections of one attempt at PagerDuty, which another thread can close.

requests limits the time to connect and the silence between two pieces of an answer. It limits neither the lookup of a
name nor an answer that arrives byte by byte. So the attempt has to be cancelled from outside its thread.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter

_CANCELLED = "the attempt was cancelled"


class CancellableAdapter(HTTPAdapter):
    """Serves one attempt. After :meth:`cancel` nothing is sent, not even by a thread that is still looking up a name."""

    def __init__(self, tls: ssl.SSLContext | None, may_send: Callable[[], bool]) -> None:
        """:param tls: verifies servers, in addition to the authorities of requests; None: only those count
        :param may_send: is called before each write to a connection; see :data:`router.channels.steps.may_send`
        """
        self._tls = tls
        self._may_send = may_send
        super().__init__()
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._sockets: list[socket.socket] = []

    def serve(self, session: requests.Session) -> None:
        """Make the session use this adapter for all its requests."""
        for scheme in ("https://", "http://"):
            session.mount(scheme, self)

    def cancel(self) -> None:
        """Close every connection. Any thread may call it."""
        with self._lock:
            self._is_cancelled = True
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
        adapter = self

        class Connection(pool.ConnectionCls):  # type: ignore[misc]  # (the pool chooses it: for http, https, a proxy)
            def _new_conn(self) -> socket.socket:
                made: socket.socket = super()._new_conn()
                adapter._register(made)
                return made

            def send(self, data: Any) -> None:
                if self.sock is None:
                    self.connect()  # it takes time
                adapter._check()
                super().send(data)

        pool.ConnectionCls = Connection
        return pool

    def _check(self) -> None:
        if self._is_cancelled or not self._may_send():
            raise requests.ConnectionError(_CANCELLED)

    def _register(self, made: socket.socket) -> None:
        """Remember a socket by a copy of its descriptor, because TLS detaches the socket itself."""
        with self._lock:
            if self._is_cancelled:
                made.close()
                raise requests.ConnectionError(_CANCELLED)
            self._sockets.append(made.dup())
