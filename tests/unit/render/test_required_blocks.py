"""Blocks that a message needs: a template in which one is empty counts as failed, when it is sent and in ``check``."""

from pathlib import Path

import pytest

from router.render import SHIPPED, TemplateError, Templates, Words, is_required
from router.render.samples import sample_conversations

LEVELS = ("critical", "warning", "info")
# Each is empty in one state only.
ONLY_FIRING = "{% block text %}{% if status == 'firing' %}x{% endif %}{% endblock %}"
ONLY_RESOLVED = "{% block text %}{{ title if status == 'resolved' }}{% endblock %}"


def overriding(folder: Path, name: str, block: str, text: str) -> Templates:
    """Return templates with a shipped one in which one block is replaced."""
    shipped = (SHIPPED / name).read_text()
    start = shipped.index(f"{{% block {block} %}}")
    end = shipped.index("{% endblock %}", start) + len("{% endblock %}")
    (folder / name).write_text(shipped[:start] + text + shipped[end:])
    return Templates(levels=LEVELS, timezone="UTC", directory=folder)


@pytest.mark.parametrize(("text", "status"), [(ONLY_FIRING, "resolved"), (ONLY_RESOLVED, "firing")])
def test_a_block_that_is_empty_in_one_state_is_found(tmp_path: Path, text: str, status: str) -> None:
    (problem,) = overriding(tmp_path, "slack.j2", "text", text).check()
    assert problem.startswith(f"{tmp_path}/slack.j2:")
    assert problem.endswith(f": the block 'text' of a message whose status is {status} is empty")


@pytest.mark.parametrize(
    ("name", "block"),
    [
        (path.name, block)
        for path in sorted(SHIPPED.glob("*.j2"))
        for block in Templates(levels=LEVELS, timezone="UTC")._templates[path.name].blocks
    ],
)
def test_exactly_the_required_blocks_may_not_be_empty(tmp_path: Path, name: str, block: str) -> None:
    problems = overriding(tmp_path, name, block, f"{{% block {block} %}} {{% endblock %}}").check()
    assert any(f"the block {block!r}" in each for each in problems) is is_required(name, block)


def test_the_position_is_that_of_the_block(tmp_path: Path) -> None:
    (tmp_path / "pagerduty.j2").write_text("{# mine #}\n  {%- block summary %}{% endblock %}")
    (problem, *_) = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path).check()
    assert problem.startswith(f"{tmp_path}/pagerduty.j2:2:3: the block 'summary'")


def test_the_facts_replace_a_message_with_an_empty_block(tmp_path: Path) -> None:
    templates = overriding(tmp_path, "telegram.j2", "title", "{% block title %}{% endblock %}")
    values = templates.values(sample_conversations(LEVELS)["ended"])

    def title_of(words: Words) -> str:
        return words("title")

    title, failed = templates.fill("telegram.j2", values, title_of)
    assert failed
    assert title.startswith("Resolved: ")
    with pytest.raises(TemplateError, match="is empty"):
        templates.render("telegram.j2", "title", values)
