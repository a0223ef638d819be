"""Messages name pages of the docs by a command that works in every installation."""

import ast
import re
from pathlib import Path

import pytest

from router import package
from router.cli import docs_command
from router.package import docs_page, docs_pages
from tests.unit.cli.commands import run

ROOT = Path(__file__).parents[3]
_NAMED = re.compile(r"`alert-router docs ([\w-]+)`")


def strings(path: Path) -> list[str]:
    """Return the texts of a module, without docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    constants = (each for each in ast.walk(tree) if isinstance(each, ast.Constant))
    return [each.value for each in constants if isinstance(each.value, str) and id(each) not in docstrings]


def texts() -> dict[str, str]:
    """Return what users may see, by file."""
    found = {str(path): "\n".join(strings(path)) for path in (ROOT / "router").rglob("*.py")}
    others = [ROOT / "routes.yaml", *(ROOT / "templates").iterdir(), *(ROOT / "router").rglob("*.html")]
    return found | {str(path): path.read_text() for path in others}


def test_no_message_names_a_file_that_only_a_checkout_has() -> None:
    assert [name for name, text in texts().items() if re.search(r"(?<!router/)\bdocs/[\w-]+\.md", text)] == []


def test_every_page_that_a_message_names_exists() -> None:
    named = {page for text in texts().values() for page in _NAMED.findall(text)}
    code = "\n".join(path.read_text() for path in (ROOT / "router").rglob("*.py"))
    named |= set(re.findall(r"docs_page\(['\"]([\w-]+)['\"]\)", code))
    assert {"configuration", "backup", "command-line"} <= named <= set(docs_pages())


def test_the_command_lists_and_prints_the_pages() -> None:
    listed = run("docs")
    assert listed.exit_code == 0
    assert "configuration " in listed.stdout
    assert f"The folder: {ROOT}/docs" in listed.stdout
    assert run("docs", "glossary").stdout == (ROOT / "docs" / "glossary.md").read_text()
    assert run("docs", "glossary.md").stdout == run("docs", "glossary").stdout
    assert run("docs", "howto/nginx.conf").stdout == (ROOT / "docs/howto/nginx.conf").read_text()
    assert '"page": "glossary"' in run("docs", "--json").stdout
    unknown = run("docs", "nothing")
    assert (unknown.exit_code, "there is no page 'nothing'; pages are: " in unknown.stderr) == (1, True)
    assert docs_page("glossary") == "`alert-router docs glossary`"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (None, "install the package again"),
        ("https://example.org/docs", "read them at https://example.org/docs"),
    ],
)
def test_without_the_pages_the_command_says_where_they_are(
    monkeypatch: pytest.MonkeyPatch, address: str | None, words: str
) -> None:
    monkeypatch.setattr(package, "_DOCS", None)
    monkeypatch.setattr(docs_command, "docs_address", lambda: address)
    result = run("docs")
    assert result.exit_code == 1
    assert f"the pages are not installed; {words}\n" in result.stderr
