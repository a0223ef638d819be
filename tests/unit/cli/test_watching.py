"""``--watch`` on a terminal: it draws in place, and ends with Ctrl-C."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from router.cli import watching
from router.cli.shared import Failure
from router.cli.watching import Screen, show
from tests.unit.cli.commands import ROOT, run

SCRIPT = """
import click, sys
from router.cli.watching import WatchCommand, show, watch_option

@click.command(cls=WatchCommand)
@click.argument("words", nargs=-1)
@watch_option
def demo(words, watch):
    count = iter(range(1, 1_000))

    def view(screen):
        screen.write(f"drawing {next(count)} {' '.join(words)}")
        screen.write(str(number) for number in range(100))
        return 0

    show(view, watch)

demo()
"""


def test_a_terminal_is_redrawn_in_place(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LINES": "10",
        "COLUMNS": "40",
        "TERM": "xterm",
    }
    command = [sys.executable, "-c", SCRIPT, "--watch", "0.2"]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environ, cwd=tmp_path)
    os.close(inside)
    shown = b""
    while b"drawing 3" not in shown:
        shown += os.read(terminal, 10_000)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    os.close(terminal)
    text = shown.decode()
    assert text.startswith("\x1b[2J\x1b[H\x1b[?7ldrawing 1")
    assert "\x1b[J\x1b[?7h\x1b[H\x1b[?7ldrawing 2" in text
    assert "… 93 more lines\x1b[K" in text
    assert text.count("\x1b[2J") == 1


def test_watch_needs_no_value_before_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "pause", pause)
    for given in (["--watch"], ["--watch", "--json"], ["--watch", "3"], ["--watch=4"]):
        assert run("alerts", "--url", "http://127.0.0.1:1", *given).exit_code == 1, (
            "the first time nothing answers"
        )
    assert pauses == []
    assert run("alerts", "--watch", "0").exit_code == 2


def test_a_failure_after_the_first_time_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [1, 2]

    def pause(_seconds: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()

    def view(screen: Screen) -> int:
        if len(left) == 1:
            raise Failure("it does not answer")
        screen.write("fine")
        return 1

    monkeypatch.setattr(watching, "pause", pause)
    with pytest.raises(SystemExit) as ended:
        show(view, 1.0)
    assert ended.value.code == 0
    assert capsys.readouterr().out == "fine\n\nit does not answer\n\nfine\n\n"
