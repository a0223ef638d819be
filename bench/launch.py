"""Starts the router under an observer: ``python -m bench.launch sample|trace FILE serve …``.

``sample`` records every few milliseconds the stack of each thread, with the CPU time that the thread used since the last
sample. ``trace`` records each call of a function of the router. Both write their records at the end, with times of the
monotonic clock, which all processes of a machine share.
"""

import asyncio
import contextlib
import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import router
import router.cli.serving  # `serve` imports it when it runs: the imports are not what is observed
from router.cli import main

_SAMPLE_SECONDS = 0.003
# A late sample, on a busy machine, says little about the time before it: it counts for at most this time.
_MAX_SAMPLE_NS = 10_000_000
_HOME = str(Path(router.__file__).parent)


def position(frame: FrameType) -> str:
    """Return ``file:function``. Files of the router are relative to its folder, others have their last two parts."""
    path = frame.f_code.co_filename
    short = path[len(_HOME) - len("router") :] if path.startswith(_HOME) else "/".join(path.split("/")[-2:])
    return f"{short}:{frame.f_code.co_qualname}"


class Sampler:
    def __init__(self) -> None:
        self._samples: list[tuple[float, str, int]] = []
        self._used: dict[int, int] = {}
        self._own = 0

    def start(self) -> None:
        # So short that a sample hits a thread where it computes, not where it releases the lock by itself.
        sys.setswitchinterval(0.00002)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self._own = threading.get_ident()
        while True:
            time.sleep(_SAMPLE_SECONDS)
            for thread, frame in sys._current_frames().items():  # noqa: SLF001  (documented)
                if thread != self._own:
                    self._look(thread, frame)

    def _look(self, thread: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # the thread has ended
            used = time.clock_gettime_ns(time.pthread_getcpuclockid(thread))
            spent, self._used[thread] = used - self._used.get(thread, used), used
            if spent:
                stack = []
                while frame is not None:
                    stack.append(position(frame))
                    frame = frame.f_back
                self._samples.append(
                    (time.perf_counter(), ";".join(reversed(stack)), min(spent, _MAX_SAMPLE_NS) // 1_000)
                )

    def seen(self) -> list[tuple[float, str, int]]:
        """Return the samples: time, stack with the outermost call first, and microseconds of CPU."""
        return self._samples


class Tracer:
    def __init__(self) -> None:
        self._calls: list[tuple[float, int, str]] = []
        self._tasks: dict[asyncio.Task[Any], int] = {}

    def start(self) -> None:
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_HOME):
            self._calls.append((time.perf_counter(), self._task(), position(frame)))

    def _task(self) -> int:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # this thread runs no loop
            return 0
        return 0 if task is None else self._tasks.setdefault(task, len(self._tasks) + 1)

    def seen(self) -> list[tuple[float, int, str]]:
        """Return the calls: time, task (numbered in the order of their first calls; 0: none), and function."""
        sys.setprofile(None)
        return self._calls


def launch(kind: str, file: str, *arguments: str) -> None:
    observer = Sampler() if kind == "sample" else Tracer()
    observer.start()
    try:
        main(list(arguments))
    finally:
        Path(file).write_text(json.dumps(observer.seen()))


if __name__ == "__main__":
    launch(*sys.argv[1:])
