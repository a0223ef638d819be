"""The text of a drawing: every word of it, in lines that a person reads on a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from router.channels.drawing import badge, barred, details, joined, link, links, tag, thread
from router.channels.drawing_text import text_of
from tests.unit.channels.drawings import inspected

ADDRESS = "https://example.com/a?b=c&d"


@pytest.mark.parametrize(
    ("drawing", "text"),
    [
        (joined([tag("h2", "Title"), tag("p", "one\ntwo"), tag("p", "three")]), "Title\none\ntwo\n\nthree"),
        (tag("p", "a < b & c"), "a < b & c"),
        (tag("p", "see ", link("the runbook", ADDRESS), "."), f"see the runbook <{ADDRESS}>."),
        (tag("p", link(ADDRESS, ADDRESS)), ADDRESS),
        (links([("Runbook", ADDRESS), ("Source", ADDRESS)]), f"Runbook: {ADDRESS}\nSource: {ADDRESS}"),
        (tag("h3", badge("resolved", "resolved"), "HostDown"), "[resolved] HostDown"),
        (barred("#ff0000", tag("p", "a"), tag("p", "b")) + tag("p", "c"), "┃ a\n┃\n┃ b\n\nc"),
        (details("Details", tag("pre", "{\n  1\n}")), "Details:\n\n{\n  1\n}"),
        (tag("p", "a") + details("As sent", tag("pre", "{}"), Markup("<hr>"), is_raw=True) + tag("p", "b"), "a\n\nb"),
        (tag("div", tag("div", "a: 1"), tag("div", "b: 2"), class_="fields"), "a: 1\nb: 2"),
        (thread([("22:41", "new")]), "1 reply\n\n22:41  new"),
        (tag("div", "a", Markup("<br>"), "b", Markup("<hr>"), "c"), f"a\nb\n{'-' * 40}\n\nc"),
        (tag("p", "no \x1b[2J control \u202e characters"), "no  [2J control  characters"),
    ],
)  # fmt: skip
def test_drawing_as_text(drawing: Markup, text: str) -> None:
    assert text_of(drawing) == text


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)))
def test_every_word_is_in_the_text(words: list[str]) -> None:
    parts = [tag("p", word) for word in words]
    drawing = barred("", *parts, details("More", links((word, ADDRESS) for word in words)))
    inspected(drawing)
    lines = text_of(drawing).splitlines()
    shown = [line.removeprefix("┃ ").removesuffix(f": {ADDRESS}") for line in lines]
    assert [line for line in shown if line not in {"┃", "More:"}] == words * 2
