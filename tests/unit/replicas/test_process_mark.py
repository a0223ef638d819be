"""Whether a process of this machine has certainly ended. What is not certain counts as running."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.replicas import process_mark
from router.replicas.process_mark import has_ended, own_mark

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="needs Linux: only there are marks"
)


def mark_of(pid: int) -> str:
    """Return the mark that another process has of itself."""
    mine, own_pid = own_mark(), str(os.getpid())
    machine, pid_text, _ = mine.rsplit(" ", 2)
    assert pid_text == own_pid
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{machine} {pid} {started}"


def test_a_process_that_runs_has_not_ended() -> None:
    assert own_mark()
    assert not has_ended(own_mark())


def test_a_process_has_ended_also_while_nobody_has_asked_for_its_status() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        mark = mark_of(child.pid)
        assert not has_ended(mark)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert has_ended(mark)
    assert has_ended(mark)


def test_a_process_that_is_hidden_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with hidepid=2, or ProtectProc=invisible of systemd, for a process of another user."""
    for known in ("sys/kernel/random/boot_id", "self/ns"):
        (tmp_path / known).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / known).symlink_to(Path("/proc") / known)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        mark = mark_of(child.pid)
        monkeypatch.setattr(process_mark, "_PROC", tmp_path)
        assert not has_ended(mark)
        child.kill()
    assert has_ended(mark)


def test_another_process_with_the_same_number_is_another_process() -> None:
    machine, pid, started = own_mark().rsplit(" ", 2)
    assert has_ended(f"{machine} {pid} {int(started) - 1}")


def test_of_another_machine_or_container_nothing_is_certain() -> None:
    _, pid, started = own_mark().rsplit(" ", 2)
    assert not has_ended(f"another-boot pid:[1] {pid} {started}")


@pytest.mark.parametrize("odd", ["", "x", "a b", "a b c", "\x00 1 2", " -1 0"])
def test_an_odd_mark_says_nothing(odd: str) -> None:
    assert not has_ended(odd)


def test_a_mark_with_an_odd_number_says_nothing() -> None:
    machine, _, _ = own_mark().rsplit(" ", 2)
    assert not has_ended(f"{machine} x 1")
