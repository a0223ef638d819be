"""Checks what no linter checks: forbidden text, tests that depend on real time, and names.

- No file contains the address of a registry or a path of a machine.
- A test that sleeps, measures time, or sets a limit of less than a minute fails by chance on a busy machine. It waits for
  a signal instead, see ``tests/waiting.py``. A line that is about real time says why: ``# real time: why``.
- Names are unique: two modules or two classes of ``router/`` never share one, and a function never has the name of its
  module. A test's name is short. Words that the glossary replaced are not used as identifiers.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Joined from parts, so that this file does not contain what it forbids.
FORBIDDEN = re.compile("|".join(["index-" + "url", "pypi" + r"\.org", "pythonhosted" + r"\.org", "registry" + r"\.npmjs", "deb" + r"\.debian\.org", "/home/" + r"\w", "/ro" + "ot/"]))  # fmt: skip
EXCUSE = re.compile(r"# real time: \w")
CLOCKS = {f"time.{name}{suffix}" for name in ("time", "monotonic", "perf_counter") for suffix in ("", "_ns")}
MAX_TEST_NAME_CHARS = 69
REPLACED_WORDS = frozenset(
    {"told", "moot", "verdict", "upkeep", "books", "tellings", "depot", "placing", "dressed", "undressed"}
)
_MIN_LIMIT_SECONDS = 60
_MIGRATIONS = "router/store/migrations/"  # they use the words of the tables as these were
_SHARED_MODULE_NAMES = {"__init__", "__main__", "conftest"}
_WORDS_OF_A_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

Finding = tuple[str, int, str]
"""The file, the line, and what is wrong there."""


def main() -> int:
    """Print what is untidy in the tracked files. :returns: 1 if there is anything, else 0"""
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    paths = [Path(name) for name in listed.split("\0") if name and name != "LICENSE"]
    texts = {str(path): path.read_text(errors="replace") for path in paths if path.is_file()}
    found = sorted({*untidy_files(texts), *untidy_names(texts)})
    for name, line, what in found:
        print(f"{name}:{line}: {what}")  # noqa: T201
    return 1 if found else 0


def untidy_files(texts: Mapping[str, str]) -> Iterator[Finding]:
    """Yield lines with forbidden text, and lines of tests that depend on real time. :param texts: by path"""
    for name, text in texts.items():
        yield from ((name, line, what) for line, what in forbidden_text(text))
        if _is_test(name):
            yield from ((name, line, what) for line, what in by_real_time(text))


def _is_test(name: str) -> bool:
    return name.startswith("tests/") and name.endswith(".py")


def forbidden_text(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if match := FORBIDDEN.search(line):
            yield number, f"{match.group()!r} must not be in the tree"


def by_real_time(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines of a test that sleep, read a clock, or set a short limit, and do not say why."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call | ast.Attribute):
            continue
        what = _use_of_real_time(node)
        if what and not any(EXCUSE.search(line) for line in lines[node.lineno - 1 : node.end_lineno]):
            yield node.lineno, f"{what}: wait for a signal, or say why: # real time: …"


def _use_of_real_time(node: ast.Call | ast.Attribute) -> str:
    """Return how a node depends on real time; empty: it does not."""
    if isinstance(node, ast.Attribute):
        name = ast.unparse(node)
        return f"{name} is the real time" if name in CLOCKS else ""
    name = ast.unparse(node.func)
    if name in {"time.sleep", "asyncio.sleep"}:
        return "" if _number(node.args[0]) == 0 else f"{name} waits for no signal"
    limits = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
    limits += (
        node.args[1:2] if name.endswith("wait_for") else node.args[:1] if name == "asyncio.timeout" else []
    )
    numbers = (each for each in map(_number, limits) if each is not None)
    short = next((each for each in numbers if 0 < each < _MIN_LIMIT_SECONDS), None)
    return "" if short is None else f"{name} has a limit of {short:g} s"


def _number(node: ast.expr) -> float | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else None


def untidy_names(texts: Mapping[str, str]) -> Iterator[Finding]:
    """Yield names that are used twice, too long, or replaced by another word. :param texts: by path"""
    trees = {name: ast.parse(text) for name, text in texts.items() if name.endswith(".py")}
    of_the_router = {name: tree for name, tree in trees.items() if name.startswith("router/")}
    yield from _shared_modules(of_the_router)
    yield from _shared_classes(of_the_router)
    for name, tree in of_the_router.items():
        yield from ((name, line, what) for line, what in _shadowed(Path(name).stem, tree))
        if not name.startswith(_MIGRATIONS):
            yield from ((name, line, what) for line, what in _replaced(tree))
    for name, tree in trees.items():
        if name.startswith("tests/"):
            yield from ((name, line, what) for line, what in _long_test_names(tree))


def _shared_modules(names: Iterable[str]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name in sorted(names):
        stem = Path(name).stem
        if stem not in _SHARED_MODULE_NAMES and first.setdefault(stem, name) != name:
            yield name, 1, f"{first[stem]} has the same name"


def _shared_classes(trees: Mapping[str, ast.Module]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name, tree in sorted(trees.items()):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and first.setdefault(node.name, name) != name:
                yield name, node.lineno, f"{first[node.name]} has a class {node.name} as well"


def _shadowed(stem: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == stem:
            yield node.lineno, f"the function {node.name} has the name of its module"


def _replaced(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for name in _identifiers(node):
            words = {word.lower() for word in _WORDS_OF_A_NAME.findall(name)}
            if words & REPLACED_WORDS:
                yield getattr(node, "lineno", 1), f"{name}: use the word of the glossary instead"


def _identifiers(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name


def _long_test_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        if len(node.name) > MAX_TEST_NAME_CHARS:
            yield (
                node.lineno,
                f"{node.name} has {len(node.name)} characters, not {MAX_TEST_NAME_CHARS} at most",
            )


if __name__ == "__main__":
    sys.exit(main())
