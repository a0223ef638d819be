"""The site of the documentation: its navigation, its links to other files, and that it loads nothing from outside."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.unit.docs.pages import ROOT

_FROM_OUTSIDE = re.compile(r"""<(?:script|img|iframe)[^>]*\ssrc="?(?:https?:)?//|<link[^>]*\shref="?(?:https?:)?//|
                               url\(["']?https?://|@import""", re.VERBOSE)  # fmt: skip


def hook(name: str) -> ModuleType:
    """Return a hook of mkdocs as a module."""
    pytest.importorskip("mkdocs", reason="mkdocs is missing: make check installs it")
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/_hooks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(nav: Any) -> Iterator[str]:
    match nav:
        case str():
            yield nav
        case dict():
            for each in nav.values():
                yield from leaves(each)
        case _:
            for each in nav:
                yield from leaves(each)


def test_the_navigation_names_every_page_once() -> None:
    named = list(leaves(YAML(typ="safe").load(ROOT / "mkdocs.yml")["nav"]))
    expanded = [
        page
        for entry in named
        for page in (
            [each.relative_to(ROOT / "docs").as_posix() for each in sorted(ROOT.glob(f"docs/{entry}"))]
            if "*" in entry
            else [entry]
        )
    ]
    pages = {each.relative_to(ROOT / "docs").as_posix() for each in ROOT.glob("docs/**/*.md")}
    of_the_root = {f"project/{each.name}" for each in ROOT.glob("*.md") if each.name != "README.md"}
    assert sorted(expanded) == sorted({"index.md"} | pages | of_the_root)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site. A warning is an error: a link that leads nowhere, a page that is not in the navigation."""
    pytest.importorskip("mkdocs", reason="mkdocs is missing: make check installs it")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_builds_and_loads_nothing_from_other_hosts(site: Path) -> None:
    texts = [path for path in site.rglob("*") if path.suffix in {".html", ".css"}]
    assert len(texts) > 20
    assert [path.name for path in texts if _FROM_OUTSIDE.search(path.read_text())] == []


def test_the_site_has_the_page_of_each_runbook_url(site: Path) -> None:
    rules = "".join(each.read_text() for each in ROOT.glob("deploy/prometheus/rules/*.yml"))
    pages = re.findall(r"runbook_url: https://docs\.example\.com/alert-router/(\S+)", rules)
    assert len(set(pages)) > 40
    assert [page for page in pages if not (site / page).is_file()] == []


def test_files_outside_the_docs_are_pages_of_the_site(site: Path) -> None:
    for page in ("index", "project/CONTRIBUTING", "project/CHANGELOG", "files/routes.yaml", "files/LICENSE"):
        assert "<article" in (site / f"{page}.html").read_text()
    assert 'href="files/routes.yaml.html"' in (site / "index.html").read_text()


def test_links_lead_to_the_pages_of_their_files() -> None:
    given = (
        "[a](docs/rules.md#teams) [b](LICENSE) `[c](LICENSE)` [d](docs/decisions) [e](https://x.example/)\n"
    )
    expected = "[a](rules.md#teams) [b](files/LICENSE.md) `[c](LICENSE)` [d](decisions/index.md) [e](https://x.example/)\n"
    assert hook("outside_files").with_site_links(given, "README.md", "index.md") == expected
    given = "[r](../../README.md) [c](../../CONTRIBUTING.md#tests) [s](../delivery.md)"
    expected = "[r](../index.md) [c](../project/CONTRIBUTING.md#tests) [s](../delivery.md)"
    from_decision = ("docs/decisions/0001-x.md", "decisions/0001-x.md")
    assert hook("outside_files").with_site_links(given, *from_decision) == expected


def test_lists_are_written_as_python_markdown_reads_them() -> None:
    given = "Text:\n- one\n  more\n  - inner\n- two\n1. first\n\n   ```\n   - no item\n   ```\n\n   After.\n\nEnd\n"
    expected = "Text:\n\n- one\n    more\n    - inner\n- two\n1. first\n\n    ```\n    - no item\n    ```\n\n    After.\n\nEnd\n"
    assert hook("github_markdown").on_page_markdown(given) == expected


def test_a_pipe_in_code_in_a_table_is_shown_without_its_backslash() -> None:
    given = "Text\n| `a\\|b` | c |\n|---|---|\n"
    assert hook("github_markdown").on_page_markdown(given) == "Text\n\n| `a|b` | c |\n|---|---|\n"


def test_no_page_needs_a_script_from_outside_for_its_diagrams() -> None:
    """The theme loads Mermaid from another host if a page uses it."""
    assert [path.name for path in ROOT.glob("docs/**/*.md") if "```mermaid" in path.read_text()] == []
