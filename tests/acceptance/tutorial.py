"""Runs the blocks of a page of the documentation, as its reader would.

- ```` ```sh ```` is run in the first terminal. The lines of the ```` ```text ```` block below it must appear in the
  output, in this order; ``…`` stands for any text.
- ```` ```sh title="terminal 2" ```` is run in another terminal and goes on. A later block in it stops it first.
- ```` ```sh title="by hand: what" ```` is not run.

Any other block of a shell is an error: nothing stays untested unnoticed.
"""

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import waiting

_FENCE = re.compile(r'^```(\w*)(?: title="([^"\n]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SHELL = {"sh", "bash", "shell", "console", "zsh", ""}
# These only read, so they can be repeated until the router has got so far.
_READS = re.compile(r"alert-router (alerts|show|status|digest|ledger|deliveries)\b")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of commands, and the lines that its output must have."""

    title: str
    script: str
    expected: tuple[str, ...]

    @property
    def by_hand(self) -> str:
        """What a person has to do; empty: it is run."""
        return self.title.removeprefix("by hand: ") if self.title.startswith("by hand: ") else ""

    @property
    def only_reads(self) -> bool:
        commands = [line for line in self.script.splitlines() if line and line != ". ./credentials"]
        return all(_READS.match(each) for each in commands)


def blocks_of(markdown: str) -> list[Block]:
    """Return the blocks of a page. :raises AssertionError: one is neither run nor marked"""
    found: list[Block] = []
    for language, title, text in _FENCE.findall(markdown):
        if language == "text":
            assert found, "output without commands"
            assert not found[-1].expected, f"two outputs: {text}"
            found[-1] = Block(found[-1].title, found[-1].script, tuple(text.splitlines()))
        elif language in _SHELL:
            assert language == "sh", f"write commands in a block `sh`, so that they are run: {text}"
            is_known = not title or re.fullmatch(r"by hand: .+|terminal \d", title)
            assert is_known, f"unknown title {title!r}"
            found.append(Block(title, text, ()))
    return found


def missing(expected: tuple[str, ...], output: str) -> str:
    """Return the first expected line that the output lacks; empty: all are there, in order."""
    lines = iter(re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines())
    for want in expected:
        pattern = re.compile(r"\s*" + ".*".join(map(_loose, want.strip().split("…"))) + r"\s*")
        if want.strip() and not any(pattern.fullmatch(line) for line in lines):
            return want
    return ""


def _loose(part: str) -> str:
    """Return a pattern for a text, in which each run of spaces stands for any other."""
    return r"\s+".join(map(re.escape, re.split(r"\s+", part)))


@dataclass
class Reader:
    """Somebody who follows a page, with some terminals.

    :param replaced: texts of the page, such as ports, and what stands for them here
    """

    home: Path
    environ: Mapping[str, str]
    replaced: Mapping[str, str]
    run: int = 0
    terminals: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def _here(self, text: str) -> str:
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    async def follow(self, block: Block) -> None:
        """Run a block, and check its output."""
        self.run += 1
        expected = tuple(map(self._here, block.expected))
        if block.title:
            await self._in_another_terminal(block.title, self._here(block.script), expected)
            return
        script = self._here(block.script)
        can_wait = block.only_reads and bool(expected)
        output = await self._in_the_first_terminal(script, must_work=not can_wait)

        async def appears() -> bool:
            nonlocal output
            output = await self._in_the_first_terminal(script, must_work=False)
            return not missing(expected, output)

        if can_wait and missing(expected, output):
            with contextlib.suppress(AssertionError):  # the lines below say more
                await waiting.until(appears, script, pause=0.5)
        assert not (line := missing(expected, output)), f"{script}does not show {line!r}, but:\n{output}"

    async def _in_the_first_terminal(self, script: str, *, must_work: bool = True) -> str:
        state = self.home / ".terminal"
        before = f". {shlex.quote(str(state))}\n" if state.exists() else ""
        after = f'\n{{ export -p; printf "cd %q\\n" "$PWD"; }} > {shlex.quote(str(state))}\n'
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", f"set -eu\n{before}{script}{after}", cwd=self.home, env=dict(self.environ),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0 or not must_work, f"{script}ended with {process.returncode}:\n{output}"
        return output

    async def _in_another_terminal(self, name: str, script: str, expected: tuple[str, ...]) -> None:
        await self._interrupt(name)
        log = self.home / f"{name}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", f"set -eu\n{script}", cwd=self.home, env=dict(self.environ),
                stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.terminals[name] = process

        async def appears() -> bool:
            assert process.returncode is None, f"{script}ended:\n{log.read_text()}"
            return not missing(expected, log.read_text())

        await waiting.until(appears, f"{name} shows {expected}", pause=0.1)

    async def _interrupt(self, name: str) -> None:
        """Press Ctrl-C in a terminal, if something runs there."""
        process = self.terminals.pop(name, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            await process.wait()

    async def leave(self) -> None:
        """Stop everything that was started."""
        for name in list(self.terminals):
            await self._interrupt(name)
