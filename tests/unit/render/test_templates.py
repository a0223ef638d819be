"""Templates: overriding, mistakes with their place, the sandbox, the dry run."""

from pathlib import Path

import pytest

from router.model import Conversation
from router.render import SHIPPED, TemplateError, Templates
from router.render.samples import sample_conversations

LEVELS = ("critical", "warning", "info")
PAGE = "{% block summary %}{{ title }}{% endblock %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def templates(folder: Path | None = None) -> Templates:
    return Templates(levels=LEVELS, timezone="UTC", directory=folder)


def plain() -> Conversation:
    return sample_conversations(LEVELS)["plain"]


def page(folder: Path, text: str, conversation: Conversation | None = None) -> str:
    """The page's summary, with this text as its template."""
    (folder / "pagerduty.j2").write_text(text)
    loaded = templates(folder)
    return loaded.render("pagerduty.j2", "summary", loaded.values(conversation or plain()))


def test_what_is_shipped_renders_on_every_sample() -> None:
    assert sorted(templates()._templates) == sorted(path.name for path in SHIPPED.glob("*.j2"))
    assert templates().check() == []


@pytest.mark.parametrize("levels", [("only",), ("p1", "p2"), ("a", "b", "c", "d", "e")])
def test_what_is_shipped_renders_with_any_levels(levels: tuple[str, ...]) -> None:
    assert Templates(levels=levels, timezone="Asia/Kathmandu").check() == []


def test_a_folder_overrides_file_by_file(folder: Path) -> None:
    assert (
        page(folder, "{% block summary %} Mine: {{ title }}\n{% endblock %}")
        == "Mine: HighErrorRate on checkout (1 resolved)"
    )
    loaded = templates(folder)
    assert loaded.check() == []
    assert (
        loaded.render("slack.j2", "title", loaded.values(plain()))
        == "🔴 HighErrorRate on checkout (1 resolved)"
    )


def test_a_template_is_read_once(folder: Path) -> None:
    (folder / "pagerduty.j2").write_text(PAGE)
    loaded = templates(folder)
    (folder / "pagerduty.j2").write_text("{% broken")
    assert (
        loaded.render("pagerduty.j2", "summary", loaded.values(plain()))
        == "HighErrorRate on checkout (1 resolved)"
    )


def test_what_others_include_may_stand_beside_them(folder: Path) -> None:
    (folder / "_name.j2").write_text("Mine: {{ title }}")
    assert (
        page(folder, '{% block summary %}{% include "_name.j2" %}{% endblock %}')
        == "Mine: HighErrorRate on checkout (1 resolved)"
    )
    assert templates(folder).check() == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n{% block summary %}{% endblok %}", ":2: Encountered unknown tag 'endblok'"),
        ("{% block summary %}\n\n{{ title | shout }}{% endblock %}", ":3: No filter named 'shout'"),
    ],
)
def test_a_mistake_in_the_syntax_says_where(folder: Path, text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        page(folder, text)
    assert str(caught.value).startswith(f"{folder}/pagerduty.j2{problem}")


def test_a_file_that_is_no_text_says_so(folder: Path) -> None:
    (folder / "slack.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateError, match=rf"^{folder}/slack\.j2:1: it can't be read"):
        templates(folder)


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="gone: no such folder"):
        templates(tmp_path / "gone")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("titel", "UndefinedError: 'titel' is undefined"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("common_labels.nothing.more", "UndefinedError"),
        ("title.__class__.__mro__", "SecurityError"),
        ("common_labels.update(a=1)", "SecurityError"),
        ("title + 1", "TypeError"),
    ],
)
def test_a_mistake_at_run_time_says_where(folder: Path, expression: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        page(folder, "\n\n{% block summary %}\n{{ title }}\n{{ " + expression + " }}\n{% endblock %}")
    assert str(caught.value).startswith(f"{folder}/pagerduty.j2:5: ")
    assert problem in str(caught.value)
    assert any(str(caught.value) == each for each in templates(folder).check())


def test_a_shipped_template_goes_by_its_name_in_the_project() -> None:
    with pytest.raises(TemplateError, match=r"^templates/slack\.j2:\d+: UndefinedError"):
        templates().render("slack.j2", "text", {})


def test_a_block_that_a_file_leaves_out_is_the_shipped_one(folder: Path) -> None:
    (folder / "slack.j2").write_text("{% block text %}Mine: {{ title }}{% endblock %}")
    loaded, shipped = templates(folder), templates()
    values = loaded.values(plain())
    assert loaded.check() == []
    assert loaded.render("slack.j2", "text", values) == f"Mine: {values['title']}"
    assert loaded.render("slack.j2", "summary", values) == shipped.render("slack.j2", "summary", values)


def test_a_shipped_block_calls_the_blocks_of_the_folder(folder: Path) -> None:
    (folder / "storm.txt.j2").write_text("{% block summary %}Mine{{ 1 / over }}{% endblock %}")
    loaded = templates(folder)
    samples = sample_conversations(LEVELS)
    assert loaded.render("storm.txt.j2", "body", loaded.values(samples["storm that is over"])).startswith(
        "Mine1.0"
    )
    with pytest.raises(TemplateError) as caught:
        loaded.render("storm.txt.j2", "body", loaded.values(samples["storm"]))
    assert str(caught.value).startswith(f"{folder}/storm.txt.j2:1: ZeroDivisionError")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "\n {% block titel %}x{% endblock %}",
            ":2:2: no channel reads the block 'titel'; did you mean 'title'?",
        ),
        (
            "{% block header %}x{% endblock %}",
            ":1:1: no channel reads the block 'header'; the blocks are text, title",
        ),
    ],
)
def test_a_block_that_no_channel_reads_is_found(folder: Path, text: str, problem: str) -> None:
    (folder / "slack.j2").write_text(text)
    (found,) = templates(folder).check()
    assert found.startswith(f"{folder}/slack.j2{problem}")


def test_a_block_may_call_or_contain_blocks_of_its_own(folder: Path) -> None:
    helpers = "{% block hi %}Hi{% endblock %}{% block text %}{{ self.hi() }}{% block you %} you{% endblock %}{% endblock %}"
    (folder / "slack.j2").write_text(helpers)
    loaded = templates(folder)
    assert loaded.check() == []
    assert loaded.render("slack.j2", "text", loaded.values(plain())) == "Hi you"


def test_only_the_block_about_an_alert_sees_one(folder: Path) -> None:
    """Or the dry run would let pass what fails in earnest."""
    assert page(folder, "{% block summary %}{{ alerts[0].name }}{% endblock %}") == "HighErrorRate"
    (folder / "pagerduty.j2").write_text("{% block summary %}{{ alert.name }}{% endblock %}")
    assert any("'alert' is undefined" in problem for problem in templates(folder).check())


def test_a_file_that_no_channel_reads_is_pointed_out(folder: Path) -> None:
    (folder / "slak.j2").write_text("")
    (problem,) = templates(folder).check()
    assert "slak.j2:1: no channel reads it; did you mean slack.j2?" in problem


def test_html_is_escaped_and_nothing_else(folder: Path) -> None:
    (folder / "email.html.j2").write_text("{% block body %}{{ title }}{% endblock %}")
    (folder / "email.txt.j2").write_text("{% block body %}{{ title }}{% endblock %}")
    loaded = templates(folder)
    values = {**loaded.values(plain()), "title": "<b>&\"'"}
    assert loaded.render("email.html.j2", "body", values) == "&lt;b&gt;&amp;&#34;&#39;"
    assert loaded.render("email.txt.j2", "body", values) == "<b>&\"'"
