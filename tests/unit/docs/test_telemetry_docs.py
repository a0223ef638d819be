"""docs/telemetry.md has the keys of both sections, and every attribute that can leave the router."""

import ast
from pathlib import Path

import pytest
from pydantic import BaseModel

from router.config.telemetry_models import SentryModel, TracingModel
from router.model import DecisionKind
from router.telemetry import reported_facts as facts
from tests.unit.docs.pages import first_names, model_keys, section, text

PAGE = "docs/telemetry.md"


@pytest.mark.parametrize(("heading", "model"), [("sentry", SentryModel), ("tracing", TracingModel)])
def test_a_section_has_exactly_the_keys_of_its_model(heading: str, model: type[BaseModel]) -> None:
    assert sorted(first_names(section(PAGE, heading), "key")) == sorted(model_keys(model))


def test_the_table_has_every_attribute_that_can_leave() -> None:
    tree = ast.parse(Path(facts.__file__).read_text())
    keys = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    keys |= {
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        if ast.unparse(node.value) == "facts"
    }
    keys |= {f"decisions.{kind}" for kind in DecisionKind} | {"undecided"}
    of_events = {"alerts"}
    assert set(first_names(text(PAGE), "attribute")) == keys - of_events
