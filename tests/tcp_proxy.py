"""A TCP proxy between the router and PostgreSQL, which the test owns: it cuts, refuses, hangs, and loses the answers of commits.

It reads the frames of PostgreSQL's protocol (https://www.postgresql.org/docs/current/protocol-message-formats.html), so "the
server has committed, but its answer is lost" is an order of the test, and no luck. It runs in threads of its own, so it
serves a router in this process as well as one in another process.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LENGTH = struct.Struct("!I")
_ASKS_FOR_ENCRYPTION = (80877103, 80877104)
"""The codes of SSLRequest and GSSENCRequest. The proxy itself answers them with a no."""
_COMMIT = b"COMMIT\0"
"""The text of a Query message, and in a Parse message, which begins with the name of a prepared statement."""
_COMMITTED = b"C" + _LENGTH.pack(4 + len(b"COMMIT\0")) + b"COMMIT\0"

_READY = b"Z"
"""The type of ReadyForQuery, which the server sends when it has answered everything."""


def _error(fields: bytes) -> bytes:
    return b"E" + _LENGTH.pack(4 + len(fields)) + fields


_ENDED = _error(b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0")
_CANCELLED = _error(b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0")
_CHUNK = 65_536


class TcpProxy:
    """Forwards connections to a server. Open it with :func:`proxied`.

    :param target: the server's socket in the file system, or its host and port; set it to another server after a failover
    """

    def __init__(self, target: Path | tuple[str, int]) -> None:
        self.target = target
        self.commits = 0
        """How many COMMITs clients have sent. One that is lost counts as well."""
        self.on_commit: Callable[[int], str | None] = lambda _number: None
        """Called with the number of each COMMIT, in a thread of the proxy. ``before``: the connection is cut, and the server
        never gets the COMMIT. ``after``: it is cut when the server has answered, and the answer is lost. ``ended``: the server
        has committed, and then ends the session with an error, as at a restart. ``cancelled``: it has committed, and then says
        that the statement was cancelled, as if that came while it logs how long the commit took; all of this arrives together.
        ``cancelled, not ready``: the same, but the server does not become ready for the next statement. ``hang``: it is not cut,
        but the answer never arrives. None: it is forwarded."""
        self._lock = threading.Lock()
        self._open: set[_Pair] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._bytes_left: int | None = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._accepting = _thread(self._accept, self._listening)

    def cut(self) -> int:
        """Close all connections. Return how many there were."""
        with self._lock:
            pairs, self._open = self._open, set()
        for each in pairs:
            each.close()
        return len(pairs)

    def refuse(self) -> None:
        """Refuse new connections until :meth:`accept_again`, and cut those that exist."""
        self.refuse_new()
        self._accepting.join()
        self.cut()

    def refuse_new(self) -> None:
        """Refuse new connections until :meth:`accept_again`."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the accept
        self._listening.close()

    def accept_again(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._accepting = _thread(self._accept, self._listening)

    def hang(self) -> None:
        """Accept connections and bytes, but forward nothing, until :meth:`flow`."""
        self._flows.clear()

    def flow(self) -> None:
        """Forward again, also what came meanwhile."""
        self._flows.set()

    def cut_after(self, count: int) -> None:
        """Cut the connection that forwards the next so many bytes, in the middle of a message."""
        with self._lock:
            self._bytes_left = count

    def close(self) -> None:
        self.refuse()
        self._flows.set()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
                # Each frame is a segment of its own, which would wait for the acknowledgement of the one before: 40 ms each.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                return
            _thread(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            self._flows.wait()
            server = _connected(self.target)
        except OSError:
            client.close()
            return
        pair = _Pair(client, server)
        with self._lock:
            self._open.add(pair)
        _thread(self._forward_answers, pair)
        try:
            self._forward_requests(pair)
        finally:
            self._end(pair)

    def _forward_requests(self, pair: "_Pair") -> None:
        for frame in _frames(pair.client, answers_startup=True):
            if _is_commit(frame):
                with self._lock:
                    self.commits += 1
                    number = self.commits
                order = self.on_commit(number)
                if order == "before":
                    return
                pair.loses_answer = order
            self._send(pair, pair.server, frame)

    def _forward_answers(self, pair: "_Pair") -> None:
        held = b""
        try:
            for frame in _frames(pair.server):
                if frame == _COMMITTED and pair.loses_answer == "after":
                    return
                if frame == _COMMITTED and pair.loses_answer == "ended":
                    self._send(pair, pair.client, frame + _ENDED)
                    return
                if pair.loses_answer == "hang":
                    continue
                if pair.loses_answer == "cancelled" and frame[:1] != _READY:
                    held += frame + (_CANCELLED if frame == _COMMITTED else b"")
                    continue
                if frame == _COMMITTED and pair.loses_answer == "cancelled, not ready":
                    pair.loses_answer = "hang"
                    frame += _CANCELLED  # noqa: PLW2901
                self._send(pair, pair.client, held + frame)
                held = b""
        finally:
            self._end(pair)

    def _send(self, pair: "_Pair", to: socket.socket, frame: bytes) -> None:
        self._flows.wait()
        with self._lock:
            left = self._bytes_left
            if left is not None:
                self._bytes_left = None if left < len(frame) else left - len(frame)
        with suppress(OSError):
            if left is not None and left < len(frame):
                to.sendall(frame[:left])
                pair.close()
                return
            to.sendall(frame)

    def _end(self, pair: "_Pair") -> None:
        with self._lock:
            self._open.discard(pair)
        pair.close()


class _Pair:
    """The two sockets of a connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.loses_answer: str | None = None

    def close(self) -> None:
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            each.close()


def _frames(source: socket.socket, *, answers_startup: bool = False) -> Iterator[bytes]:
    """Yield the messages of one direction, until it ends.

    :param answers_startup: it is the client's direction, which begins with messages without a type
    """
    buffer, typed = b"", 0 if answers_startup else 1
    with suppress(OSError):
        while received := source.recv(_CHUNK):
            buffer += received
            while len(buffer) >= typed + 4:
                size = typed + _LENGTH.unpack_from(buffer, typed)[0]
                if len(buffer) < size:
                    break
                frame, buffer = buffer[:size], buffer[size:]
                if typed:
                    yield frame
                elif _LENGTH.unpack_from(frame, 4)[0] in _ASKS_FOR_ENCRYPTION:
                    source.sendall(b"N")
                else:
                    typed = 1
                    yield frame


def _connected(target: Path | tuple[str, int]) -> socket.socket:
    if not isinstance(target, Path):
        return socket.create_connection(target)
    found = socket.socket(socket.AF_UNIX)
    try:
        found.connect(str(target))
    except OSError:
        found.close()
        raise
    return found


def _is_commit(frame: bytes) -> bool:
    """Return whether a frame of the client asks for a COMMIT."""
    text = frame[1 + _LENGTH.size :]
    return (frame[:1] == b"Q" and text == _COMMIT) or (frame[:1] == b"P" and text.startswith(b"\0" + _COMMIT))


def _thread(work: Callable[..., None], *given: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=given, daemon=True)
    thread.start()
    return thread


@contextmanager
def proxied(target: Path | tuple[str, int]) -> Iterator[TcpProxy]:
    """Yield a proxy in front of a server. :param target: see :class:`TcpProxy`"""
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
