"""Links, paths, the glossary and the map of packages and modules agree with the tree."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.unit.docs.pages import ROOT, first_names, headings, pages, rows, section, text

GLOSSARY = [
    "webhook", "alert", "change", "receiver", "destination", "conversation", "member", "decision", "delivery",
    "fate", "lane", "storm", "dead letter", "self-alert", "digest",
]  # fmt: skip


def anchor(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for address in re.findall(r"\]\(([^)\s]+)\)", prose):
        if address.startswith(("http://", "https://")):
            continue
        path, _, fragment = unquote(address).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), address
        if fragment:
            assert fragment in map(anchor, headings(str(target.relative_to(ROOT)))), address


def test_every_path_that_a_page_names_exists() -> None:
    """The changelog also names files that were removed. A run writes ``bench/results``, and a reader their own overlay."""
    prose = "\n".join(page.read_text() for page in pages() if page.name != "CHANGELOG.md")
    named = set(re.findall(r"(?<![\w/-])((?:router|tests|bench|templates|deploy)/[\w./-]*\w)", prose)) - {
        "bench/results",
        "deploy/kubernetes/overlays/mine",
    }
    assert sorted(each for each in named if not (ROOT / each).exists()) == []


def test_the_glossary_has_exactly_the_words_of_the_design() -> None:
    assert [
        re.findall(r"\*\*(.+?)\*\*", row[0])[0] for row in rows(text("docs/glossary.md"), "word")
    ] == GLOSSARY
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "(docs/glossary.md)" in text(page)


def test_the_glossary_has_each_word_once() -> None:
    cells = [row[0] for head in ("word", "other word") for row in rows(text("docs/glossary.md"), head)]
    words = [word for cell in cells for word in re.findall(r"\*\*(.+?)\*\*", cell)]
    assert len(words) > len(GLOSSARY)
    assert sorted(set(words)) == sorted(words)


def test_the_glossary_says_where_each_word_is_met() -> None:
    assert [word for word, _, met in rows(text("docs/glossary.md"), "word") if not met] == []


def test_the_map_of_packages_and_modules_is_the_tree() -> None:
    found = first_names(section("CONTRIBUTING.md", "Packages and modules"), "name")
    packages = [f"{each.parent.name}/" for each in ROOT.glob("router/*/__init__.py")]
    modules = [each.name for each in ROOT.glob("router/*.py") if not each.name.startswith("__")]
    assert sorted(found) == sorted(packages + modules)


def test_the_decisions_are_numbered_without_gaps() -> None:
    files = sorted(each.name for each in ROOT.glob("docs/decisions/*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    for name in files:
        assert text(f"docs/decisions/{name}").startswith(f"# {int(name[:4])}. ")


def test_every_variable_of_the_environment_is_documented() -> None:
    given = {name for page in pages() for name in re.findall(r"\bALERT_ROUTER_[A-Z_]+", page.read_text())}
    source = "\n".join(path.read_text() for path in ROOT.glob("router/**/*.py"))
    assert set(re.findall(r'"(ALERT_ROUTER_[A-Z_]+)"', source)) - given == set()


def test_every_target_of_the_makefile_that_has_help_is_documented() -> None:
    targets = re.findall(r"^([a-z]+):.*## ", text("Makefile"), re.MULTILINE)
    named = {word for page in pages() for word in re.findall(r"\bmake ([a-z]+)\b", page.read_text())}
    assert set(targets) - named == set()
