"""Marks of processes: whether a process of this machine has certainly ended, also if its number is used again.

Only Linux has what a mark needs. On other systems the mark is empty, and a process with an empty mark never counts as ended.
"""

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_START_FIELD = 22
"""The field of /proc/PID/stat with the time of the start. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""


def own_mark() -> str:
    """Return the mark of this process: the machine's boot, its namespace of process ids, its id and its start."""
    with suppress(OSError):
        return f"{_machine()} {os.getpid()} {_started(os.getpid())}"
    return ""


def has_ended(mark: str) -> bool:
    """Return whether the process of a mark ran on this machine, in this namespace of process ids, and has ended."""
    with suppress(OSError, ValueError):
        machine, pid, started = mark.rsplit(" ", 2)
        if machine != _machine():
            return False
        try:
            return _started(int(pid)) != started
        except (FileNotFoundError, ProcessLookupError):
            return not _exists(int(pid))
    return False


def _exists(pid: int) -> bool:
    """Return whether a process exists. ``/proc`` can hide those of other users (hidepid, systemd's ProtectProc)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _machine() -> str:
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """Return when a process started; empty: it has ended, and is a zombie now."""
    # The name of the program, in parentheses, may contain spaces and parentheses.
    state, *fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return "" if state == "Z" else fields[_START_FIELD - 4]
