"""The table of the log's actions agrees with the code: each action, its levels, and its fields."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.docs.pages import ROOT, names, rows, text

PAGE = "docs/log.md"
LEVEL_OF_METHOD = {"exception": "error"}
METHODS = {"debug", "info", "warning", "error", "exception"}
FIELD = re.compile(r"[a-z]+([A-Z][a-z]+)*")


def logged() -> Iterator[tuple[str, ast.Call, str]]:
    """Yield each call of a logger: where it is, the call, and its level."""
    for path in sorted(ROOT.glob("router/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            if isinstance(called, ast.Attribute) and ast.unparse(called.value) == "log":
                if called.attr in METHODS:
                    yield where, node, LEVEL_OF_METHOD.get(called.attr, called.attr)
            elif isinstance(called, ast.IfExp) and ast.unparse(called).startswith("log."):
                for each in (called.body, called.orelse):
                    yield where, node, ast.unparse(each).removeprefix("log.")


def documented() -> dict[str, set[str]]:
    return {names(row[0])[0]: set(re.findall(r"\w+", row[1])) for row in rows(text(PAGE), "action")}


def test_each_action_is_a_constant_text() -> None:
    """So the number of actions is bounded, and lines can be sampled by action."""
    computed = [
        where
        for where, call, _ in logged()
        if not (call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str))
    ]
    assert computed == []


def test_the_table_has_every_action_with_its_levels() -> None:
    found: dict[str, set[str]] = {}
    for _, call, level in logged():
        found.setdefault(ast.literal_eval(call.args[0]), set()).add(level)
    own = {"log lines left out": {"any"}, "log lines lost": {"warning"}}
    assert documented() == found | own


def test_each_field_is_one_word_or_in_camel_case() -> None:
    fields = {(where, keyword.arg) for where, call, _ in logged() for keyword in call.keywords if keyword.arg}
    assert [each for each in sorted(fields) if not FIELD.fullmatch(each[1]) and each[1] != "exc_info"] == []


@pytest.mark.parametrize("function", ["receiving_log", "request_log", "delivery_log"])
def test_the_page_names_every_field_of_the_frequent_lines(function: str) -> None:
    (path,) = ROOT.glob(f"router/*/{function}.py")
    keys = {
        key.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    assert sorted(each for each in keys if f"`{each}`" not in text(PAGE)) == []
