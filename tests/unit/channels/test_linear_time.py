"""Long texts take time in proportion to their length: eight times the text is at most 24 times the work."""

import time
from collections.abc import Callable

import pytest

from router.channels import REGISTRY
from router.channels.discord_layout import MARKDOWN as DISCORD
from router.channels.drawing import tag
from router.channels.drawing_text import text_of
from router.channels.layout import TextFormat
from router.channels.pagerduty_details import details_of
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
_TIMES_LONGER = 8
_MAX_TIMES_SLOWER = 3 * _TIMES_LONGER
"""Quadratic work would be 64 times slower."""
FORMATS = {"discord": DISCORD, "teams": TEAMS, "telegram": HTML, "slack": MRKDWN}


def assert_linear(work: Callable[[int], object], count: int) -> None:
    """Fail if ``work(8 * count)`` takes more than 24 times the CPU time of ``work(count)``, at every attempt."""
    assert any(
        _cpu_seconds(work, count * _TIMES_LONGER) <= _MAX_TIMES_SLOWER * (_cpu_seconds(work, count) + 0.0002)
        for _ in range(3)
    )


def _cpu_seconds(work: Callable[[int], object], count: int) -> float:
    start = time.thread_time()
    work(count)
    return time.thread_time() - start


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("mark", BEGINNINGS)
def test_cutting_text_is_linear(name: str, mark: str) -> None:
    made: TextFormat = FORMATS[name]
    assert_linear(lambda count: made.clip(mark * count, 100, "the text"), 1_000)
    assert_linear(lambda count: made.clip(made.escape(mark * count), 100, "the text"), 1_000)
    assert_linear(lambda count: made.pages(mark * count, 100), 500)


@pytest.mark.parametrize("name", channels_with(lambda rig: rig.markup))
@pytest.mark.parametrize("mark", BEGINNINGS)
def test_drawing_markup_is_linear(name: str, mark: str) -> None:
    markup = rig_of(name).markup
    assert markup is not None
    draw = markup.draw
    assert_linear(lambda count: draw(mark * count), 500)


@pytest.mark.parametrize("mark", [*BEGINNINGS, "a"])
def test_removing_markup_is_linear(mark: str) -> None:
    assert_linear(lambda count: plain_text("<" + mark * count), 500)
    assert_linear(lambda count: telegram_plain_text("<" + mark * count), 500)
    assert_linear(lambda count: text_of(tag("p", mark * count)), 500)


@pytest.mark.parametrize("name", [name for name, spec in REGISTRY.items() if not spec.digest])
@pytest.mark.parametrize("mark", MARKS)
def test_rendering_a_long_text_is_linear(name: str, mark: str) -> None:
    channel, there = channel_at(name, "127.0.0.1:9")

    def render(count: int) -> object:
        notes = {"summary": mark * count, "description": f"a{mark * count}", "impact": f"b{mark * count}"}
        return channel.render(there, conversation(alert(annotations=notes, instance=mark * count)), TEMPLATES)

    assert_linear(render, 1_500)


def test_pagerduty_details_of_many_alerts_are_linear() -> None:
    count = 1_000
    alerts = [
        alert(instance=f"i{number}", annotations={"summary": "s", "description": f"{number} {'d' * 2_000}"})
        for number in range(count * _TIMES_LONGER)
    ]
    few, many = conversation(*alerts[:count]), conversation(*alerts)
    values = {about: TEMPLATES.values(talk) for about, talk in ((count, few), (len(alerts), many))}
    assert_linear(lambda size: details_of(few if size == count else many, values[size], 400_000), count)


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
