"""docs/api.md is made from the OpenAPI document. ``UPDATE_GOLDEN=1 pytest`` writes it again."""

import os
import re

from router.web.api import ENDPOINTS
from router.web.api.openapi import openapi_document
from router.web.pages.api_page import ShownField, ShownOperation, operations_of
from tests.unit.docs.pages import ROOT

PAGE = ROOT / "docs/api.md"
_HEAD = """\
# API

Everything that the pages show and do is an operation of the API under `/api/v1`. A running router shows this list at `/api`,
with examples, and serves the OpenAPI 3.1 document at `/api/v1/openapi.json`. This page is made from that document.

Times are milliseconds since the epoch, unless said otherwise. Credentials and refusals: [HTTP](http.md#endpoints). A field
in *italics* is required.
"""


def reference() -> str:
    """Return the page."""
    parts = [_HEAD]
    for topic, operations in operations_of(openapi_document(ENDPOINTS, "")).items():
        if operations:
            parts.append(f"\n## {topic}\n")
            parts += [_operation(each) for each in operations]
    return "".join(parts)


def _operation(operation: ShownOperation) -> str:
    lines = [
        f"\n### {operation.method} {operation.path}\n",
        f"{operation.summary} Role: `{operation.role}`.\n",
    ]
    if operation.parameters:
        lines += ["| parameter | where | type | |", "|---|---|---|---|"]
        lines += [
            f"| {_name(each)} | {each.where} | {_cell(each.type)} | {_cell(each.words)} |"
            for each in operation.parameters
        ]
        lines.append("")
    if operation.answer:
        names = ", ".join(f"`{each.name}`" for each in operation.answer if "." not in each.name)
        inner = ", ".join(
            f"`{each.name.removeprefix('items[].')}`"
            for each in operation.answer
            if re.fullmatch(r"items\[\]\.[^.]+", each.name)
        )
        lines.append(f"Answer: {names}." + (f" Each item: {inner}." if inner else ""))
    else:
        lines.append("Answer: bytes.")
    return "\n".join(lines) + "\n"


def _name(field: ShownField) -> str:
    return f"*`{field.name}`*" if field.is_required else f"`{field.name}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def test_the_page_is_made_from_the_openapi_document() -> None:
    made = reference()
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(made)
    assert PAGE.read_text() == made, "run it with UPDATE_GOLDEN=1"


def test_the_page_has_every_operation() -> None:
    operations = re.findall(r"^### (\w+ \S+)$", PAGE.read_text(), re.MULTILINE)
    assert len(operations) == len(ENDPOINTS)
