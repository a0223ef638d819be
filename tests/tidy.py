"""What no linter looks for: addresses of registries and paths of a machine in the tree, and tests that go by real time.

A test that sleeps, measures, or gives something less than a minute fails by chance on a busy machine. It waits for a
signal instead, see ``tests/waiting.py``. Where real time is what a line is about, it says so: ``# real time: why``.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Put together so that this file does not hold what it looks for.
FORBIDDEN = re.compile("|".join(["index-" + "url", "pypi" + r"\.org", "pythonhosted" + r"\.org", "registry" + r"\.npmjs", "deb" + r"\.debian\.org", "/home/" + r"\w", "/ro" + "ot/"]))  # fmt: skip
EXCUSE = re.compile(r"# real time: \w")
CLOCKS = {f"time.{name}{suffix}" for name in ("time", "monotonic", "perf_counter") for suffix in ("", "_ns")}
_LEAST = 60
"""Seconds that a test may give something."""


def main() -> int:
    files = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    found = 0
    for name in filter(None, files.split("\0")):
        path = Path(name)
        if not path.is_file() or name == "LICENSE":
            continue
        text = path.read_text(errors="replace")
        for number, what in sorted([*untidy(text), *(by_real_time(text) if _is_test(path) else ())]):
            print(f"{name}:{number}: {what}")  # noqa: T201
            found += 1
    return 1 if found else 0


def _is_test(path: Path) -> bool:
    return path.parts[0] == "tests" and path.suffix == ".py"


def untidy(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if match := FORBIDDEN.search(line):
            yield number, f"{match.group()!r} must not stand in the tree"


def by_real_time(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a test that sleep, read a clock, or bound real time tightly, without saying why."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call | ast.Attribute):
            continue
        what = _goes_by_the_clock(node)
        if what and not any(EXCUSE.search(line) for line in lines[node.lineno - 1 : node.end_lineno]):
            yield node.lineno, f"{what}: wait for a signal, or say why: # real time: …"


def _goes_by_the_clock(node: ast.Call | ast.Attribute) -> str:
    if isinstance(node, ast.Attribute):
        name = ast.unparse(node)
        return f"{name} is the real time" if name in CLOCKS else ""
    name = ast.unparse(node.func)
    if name in {"time.sleep", "asyncio.sleep"}:
        return "" if _number(node.args[0]) == 0 else f"{name} waits for no signal"
    bounds = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
    bounds += (
        node.args[1:2] if name.endswith("wait_for") else node.args[:1] if name == "asyncio.timeout" else []
    )
    tight = next((each for each in map(_number, bounds) if each is not None and 0 < each < _LEAST), None)
    return "" if tight is None else f"{name} gives it {tight:g} s"


def _number(node: ast.expr) -> float | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else None


if __name__ == "__main__":
    sys.exit(main())
