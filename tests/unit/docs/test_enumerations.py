"""Every fate, every operator of matchers and every channel is where a reader, or the code, expects it."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import CheckConstraint

from router.cli import main
from router.decide import matchers
from router.decide.matchers import Matcher, parse_classic, parse_utf8
from router.model import Fate
from router.store import Store
from router.store.ledger import FATE_NAMES
from router.store.schema import fates
from tests.unit.docs.pages import ROOT, rows, section, text

OPERATORS = matchers._OPERATORS
VALUES = ("", "b", "bc", "ab", "c")


def words(prose: str) -> set[str]:
    return set(re.findall(r"[a-z_]+", prose))


def test_the_sums_of_the_ledger_have_every_fate() -> None:
    assert sorted(FATE_NAMES) == sorted(Fate)


def test_the_database_accepts_every_fate() -> None:
    (allowed,) = (str(each.sqltext) for each in fates.constraints if isinstance(each, CheckConstraint))
    assert set(re.findall(r"'(\w+)'", allowed)) == set(Fate)


async def test_the_ledger_command_prints_every_fate(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/router.db"
    await (await Store.open(database)).close()
    printed = CliRunner().invoke(main, ["ledger", "--database", database])
    (head,) = (line for line in printed.output.splitlines() if line.startswith("destination"))
    assert set(Fate) <= words(head)


def test_the_docs_name_every_fate() -> None:
    (equation,) = re.findall(r"changes x destinations = (.+)", section("docs/how-it-works.md", "The ledger"))
    assert words(equation) == set(Fate)
    (readme,) = re.findall(
        r"exactly one fate at each destination: ([^.]+)\.", text("README.md").replace("\n", " ")
    )
    assert words(readme) - {"or"} == set(Fate)
    ((_, meaning, _),) = (row for row in rows(text("docs/glossary.md"), "word") if row[0] == "**fate**")
    assert set(Fate) <= words(meaning)


def test_the_page_has_a_colour_for_every_fate() -> None:
    styles = (ROOT / "router/web/pages/static/style.css").read_text()
    assert [fate for fate in Fate if f".{fate}" not in styles] == []


@pytest.mark.parametrize("operator", OPERATORS)
def test_both_grammars_read_and_print_every_operator(operator: str) -> None:
    written = f'a{operator}"b"'
    assert parse_classic(written) == parse_utf8(written) == (Matcher("a", operator, "b"),)
    assert str(Matcher("a", operator, "b")) == written


def test_each_operator_accepts_different_values() -> None:
    accepted = [
        tuple(Matcher("a", each, ".").accepts(value) for value in (*VALUES, ".")) for each in OPERATORS
    ]
    assert len(set(accepted)) == len(OPERATORS)


def test_the_docs_name_every_operator() -> None:
    assert [each for each in OPERATORS if f"`{each}`" not in section("docs/configuration.md", "route")] == []
