"""docs/templates.md has every template, block, variable, attribute and filter, no more and no less."""

from dataclasses import fields
from typing import Any

import pytest
from jinja2 import Environment

from router.render import Templates, is_required
from router.render.digest_entry import DigestEntry
from router.render.digest_summary import DigestLevel
from router.render.digest_view import DigestSection
from router.render.folding import Fold
from router.render.links import Links
from router.render.samples import sample_conversations
from router.render.view import AlertView
from tests.unit.docs.pages import first_names, names, rows, section, text

PAGE = "docs/templates.md"
LEVELS = ("critical", "warning", "info")
TEMPLATES = Templates(levels=LEVELS, timezone="UTC")


def own_names(made: type[Any]) -> set[str]:
    """Return the fields and properties of a class that a template sees."""
    properties = {name for name, each in vars(made).items() if isinstance(each, property)}
    return {each.name for each in fields(made)} | properties


def variables(*, about: str) -> set[str]:
    """Return what a template sees: of a group, a digest or a storm."""
    for conversation in sample_conversations(LEVELS).values():
        is_digest, is_storm = conversation.digest is not None, conversation.storm is not None
        if about == ("digest" if is_digest else "storm" if is_storm else "group"):
            return set(TEMPLATES.values(conversation))
    raise LookupError(about)


def test_the_table_of_files_has_every_block_and_which_are_required() -> None:
    table = {
        names(row[0])[0]: (set(names(row[1])), set(names(row[2])))
        for row in rows(section(PAGE, "Templates"), "file")
    }
    assert table == {
        name: (
            {block for block in template.blocks if is_required(name, block)},
            {block for block in template.blocks if not is_required(name, block)},
        )
        for name, template in TEMPLATES._templates.items()
    }


def test_every_block_is_explained() -> None:
    blocks = {block for template in TEMPLATES._templates.values() for block in template.blocks}
    assert sorted(first_names(section(PAGE, "Templates"), "block")) == sorted(blocks)


@pytest.mark.parametrize(
    ("about", "heading"), [("group", "A message about a group"), ("storm", "A storm"), ("digest", "A digest")]
)
def test_the_table_of_variables_has_every_variable(about: str, heading: str) -> None:
    assert sorted(first_names(section(PAGE, heading), "variable")) == sorted(variables(about=about))


@pytest.mark.parametrize(
    ("head", "made"),
    [
        ("attribute", AlertView), ("attribute of folded groups", Fold), ("attribute of a section", DigestSection),
        ("attribute of an entry", DigestEntry), ("attribute of a level", DigestLevel),
    ],
)  # fmt: skip
def test_a_table_of_attributes_has_every_attribute(head: str, made: type[Any]) -> None:
    assert sorted(first_names(text(PAGE), head)) == sorted(own_names(made))


def test_the_links_of_an_alert_are_named() -> None:
    named = {name for name in names(section(PAGE, "A message about a group")) if name.startswith("links.")}
    assert named == {f"links.{each.name}" for each in fields(Links)}


def test_the_table_of_filters_has_every_filter() -> None:
    given = TEMPLATES._templates["slack.j2"].environment.filters.keys() - Environment().filters.keys()
    documented = [name.partition("(")[0] for name in first_names(section(PAGE, "Filters"), "filter")]
    assert sorted(documented) == sorted(given)
