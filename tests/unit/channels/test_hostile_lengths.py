"""Hostile texts are cut and drawn in time in proportion to their length.

Each text is so long that work in proportion to the square of its length would take far more than the ten minutes after
which pytest ends a test that hangs. No test compares times.
"""

import pytest

from router.channels import REGISTRY
from router.channels.discord_layout import MARKDOWN as DISCORD
from router.channels.drawing import tag
from router.channels.drawing_text import text_of
from router.channels.layout import TextFormat
from router.channels.slack_mrkdwn import MRKDWN, plain_text
from router.channels.teams_card import MARKDOWN as TEAMS
from router.channels.telegram_html import HTML
from router.channels.telegram_html import plain_text as telegram_plain_text
from tests.unit.channels.rigs import channel_at, channels_with, rig_of
from tests.unit.channels.talk import TEMPLATES, alert, conversation

MARKS = ("[", "*", "_", "<", "`", "&", "\\", " ", "@", ":")
BEGINNINGS = (
    *MARKS, "[a", "[a](", "[a](<https:", "[a](https:", "<b>", "<a", "<http://a", "<http:|", "**a", "*a\n", "`a", "```a", "\\[",
    '<a href="',
)  # fmt: skip
_COUNT = 300_000
FORMATS = {"discord": DISCORD, "teams": TEAMS, "telegram": HTML, "slack": MRKDWN}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("mark", BEGINNINGS)
def test_cutting_text_ends(name: str, mark: str) -> None:
    made: TextFormat = FORMATS[name]
    text = mark * (_COUNT // len(mark))
    for given in (text, made.escape(text)):
        assert made.size(made.clip(given, 100, "the text")) <= 100
    assert all(made.size(each) <= 4_000 for each in made.pages(text, 4_000))


@pytest.mark.parametrize("name", channels_with(lambda rig: rig.markup))
@pytest.mark.parametrize("mark", BEGINNINGS)
def test_drawing_markup_ends(name: str, mark: str) -> None:
    markup = rig_of(name).markup
    assert markup is not None
    assert markup.draw(mark * (_COUNT // len(mark))) is not None


@pytest.mark.parametrize("mark", [*BEGINNINGS, "a"])
def test_removing_markup_ends(mark: str) -> None:
    text = mark * (_COUNT // len(mark))
    assert plain_text("<" + text)
    assert telegram_plain_text("<" + text) is not None
    assert text_of(tag("p", text)) is not None


@pytest.mark.parametrize("name", [name for name, spec in REGISTRY.items() if not spec.digest])
@pytest.mark.parametrize("mark", ["[", "<"])
def test_rendering_a_long_text_ends(name: str, mark: str) -> None:
    channel, there = channel_at(name, "127.0.0.1:9")

    notes = {"summary": mark * _COUNT, "description": f"a{mark * _COUNT}", "impact": f"b{mark * _COUNT}"}
    message = channel.render(there, conversation(alert(annotations=notes, instance=mark * _COUNT)), TEMPLATES)
    assert not message.fallback


@pytest.mark.parametrize("name", FORMATS)
def test_pages_have_every_word(name: str) -> None:
    made = FORMATS[name]
    words = [f"<&[{number}*_" for number in range(2_000)]
    pages = made.pages(made.escape(" ".join(words)), 300)
    assert all(made.size(page) <= 300 for page in pages)
    assert " ".join(pages).split() == made.escape(" ".join(words)).split()


@pytest.mark.parametrize(
    ("name", "link"), [("discord", "[{}](<https://a.example>)"), ("teams", "[{}](https://a.example)")]
)
def test_a_link_whose_words_have_brackets_is_untagged(name: str, link: str) -> None:
    made = FORMATS[name]
    text = f"{made.escape('[a] [')} {link.format(made.escape('x[1]'))}"
    assert made.untagged(text).startswith(f"{made.escape('[a] [')} {made.escape('x[1]')}: https")
