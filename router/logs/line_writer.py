"""Writes log lines in a thread, so that a slow reader of the log never stops the event loop."""

import io
import os
import select
import threading
from collections.abc import Callable
from typing import TextIO

# Memory for lines that wait for a slow reader, in characters. What does not fit is counted.
_MAX_WAITING_CHARS = 4 * 2**20
_TICK_SECONDS = 1.0


class LineWriter:
    """Writes lines to a stream in their order. Lines can come from any thread.

    :param stream: is written by its descriptor, so that a blocked write does not hold a lock that the interpreter needs
        at its exit; a stream without a descriptor is written as it is
    :param further_lines: called every second and at the end, in the writer's thread; returns lines to write as well.
        Its arguments: how many lines were lost since the last call, and whether the log ends.
    """

    def __init__(self, stream: TextIO, further_lines: Callable[[int, bool], str]) -> None:
        self._stream = stream
        self._further_lines = further_lines
        self._fileno = _fileno(stream)
        self._changed = threading.Condition()
        self._waiting: list[str] = []
        self._size = 0
        self._lost = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Write a line soon. If too much waits, the line is lost and counted. Never blocks for long."""
        with self._changed:
            if self._size + len(line) > _MAX_WAITING_CHARS:
                self._lost += 1
                return
            self._size += len(line)
            self._waiting.append(line)
            if len(self._waiting) == 1:
                self._changed.notify()

    def close(self, within: float) -> None:
        """Write what waits, for at most this time (seconds). Lines that come later are written if the stream is not blocked."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(within)

    def _run(self) -> None:
        is_closing = False
        while not is_closing:
            with self._changed:
                if not (self._waiting or self._is_closing):
                    self._changed.wait(_TICK_SECONDS)
                is_closing = self._is_closing
                lines, self._waiting = self._waiting, []
                lost, self._lost = self._lost, 0
            text = "".join(lines) + self._further_lines(lost, is_closing)
            is_written = not text or self._write(text)
            with self._changed:
                self._size -= sum(map(len, lines))
                if not is_written:
                    self._lost += lost + len(lines)

    def _write(self, text: str) -> bool:
        """Write a text. Return whether that succeeded: the disk may be full, or no program reads the log any more."""
        try:
            if self._fileno is None:
                self._stream.write(text)
                self._stream.flush()
            else:
                self._write_to(self._fileno, text)
        except (OSError, ValueError):
            return False
        return True

    @staticmethod
    def _write_to(fileno: int, text: str) -> None:
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            try:
                left = left[os.write(fileno, left) :]
            except BlockingIOError:  # another program made the descriptor non-blocking
                select.select([], [fileno], [], _TICK_SECONDS)


def _fileno(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, ValueError, AttributeError):
        return None
