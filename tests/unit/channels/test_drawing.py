"""What channels draw is safe HTML, whatever a label says."""

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels import REGISTRY
from router.channels.discord_drawing import markdown
from router.channels.drawing import SentMessage, barred, link, tag
from router.channels.slack_drawing import mrkdwn
from router.channels.telegram_html import markup
from router.model import Conversation
from router.render.samples import sample_conversations
from tests.examples import examples
from tests.unit.channels.rigs import RIGS
from tests.unit.channels.talk import TEMPLATES, alert, conversation, destination

TAGS = {
    "a", "article", "br", "code", "details", "div", "em", "h2", "h3", "hr", "p", "pre", "rect", "s", "span", "strong",
    "summary", "svg",
}  # fmt: skip
ATTRIBUTES = {"aria-hidden", "class", "fill", "height", "href", "rel", "target", "width"}
VOID = {"br", "hr", "rect"}


class Inspector(HTMLParser):
    """Refuses what no drawing may have; keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert tag in TAGS
        assert given.keys() <= ATTRIBUTES
        if tag == "a":
            address = given["href"] or ""
            assert address == "#" or address.casefold().startswith(("http://", "https://"))
            assert given["rel"] == "noopener noreferrer"
            self.addresses.append(address)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def close(self) -> None:
        super().close()
        assert not self._open


def inspected(html: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(html.encode().decode())  # the parser keeps slices, which are not to be Markup
    inspector.close()
    return inspector


def drawn(name: str, *conversations: Conversation) -> Inspector:
    """The last message of a channel's, with those before it."""
    rig, spec = RIGS[name], REGISTRY[name]
    channel = rig.make(spec.settings.model_validate(rig.settings("127.0.0.1:9")), 1.0)
    there = destination(name, spec.options.model_validate(rig.options("127.0.0.1:9")))
    bodies = [channel.render(there, each, TEMPLATES).body for each in conversations]
    *earlier, last = (SentMessage(body, at=f"Fri 10:0{number}") for number, body in enumerate(bodies))
    return inspected(spec.draw(SentMessage(last.body, last.at, tuple(earlier))))


ODD = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "</pre></div></article>",
    "<https://evil.example|*click*>", "[click](<https://evil.example>)", "&lt;b&gt;", "`<b>`", "```<b>```", "*<b>*",
    "_~*<i>*~_", "\\<b>", "**<b>**", "<!channel> <@U1> @everyone", "{{ 1/0 }}", "\x00\x1b\u202e", "]]>", "<!--", "<![CDATA[",
    "http://a\"onmouseover='x'", "https://a.example/<b>",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - {"digest"}))
@pytest.mark.parametrize("text", ODD)
def test_odd_labels_are_drawn_as_text(name: str, text: str) -> None:
    notes = {
        "summary": text,
        "description": text,
        "runbook_url": text,
        "dashboard_url": "javascript:alert(1)",
    }
    odd = alert(annotations=notes, alertname=text, instance=text)
    first = conversation(odd)
    found = drawn(name, first, conversation(odd, version=2, remote={"ts": "1", "channel": "C1"}))
    if name != "discord":  # which makes links of bare addresses
        assert not any(each.startswith("https://evil") for each in found.addresses)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_sample_conversation_can_be_drawn(name: str) -> None:
    for kind, sample in sample_conversations(TEMPLATES.levels).items():
        if (name == "digest") is ("digest" in kind) and not (
            "storm" in kind and REGISTRY[name].storm_every is None
        ):
            assert drawn(name, sample).text


TEXT = st.text(st.sampled_from("<>&*_~`|:[]()\\\"'/ab ht ps\n") | st.characters(), max_size=60)


@examples(60)
@given(TEXT | st.sampled_from(ODD))
def test_markup_of_any_text_is_safe(text: str) -> None:
    for html in (
        mrkdwn(text),
        markdown(text),
        markup(text),
        tag("p", text, class_=text),
        link(text, text),
        barred(text, text),
    ):
        inspected(html)


def test_slack_markup_is_drawn() -> None:
    html = mrkdwn("*a* _b_ ~c~ `d` <https://e.example|f &amp; g> :fire: :unknown:")
    assert html == (
        '<strong>a</strong> <em>b</em> <s>c</s> <code>d</code> <a href="https://e.example" rel="noopener noreferrer" '
        'target="_blank">f &amp; g</a> 🔥 :unknown:'
    )


def test_discord_markup_is_drawn() -> None:
    html = markdown(r"**a\*b** \_c [d](<https://e.example>)")
    assert html == (
        '<strong>a*b</strong> _c <a href="https://e.example" rel="noopener noreferrer" target="_blank">d</a>'
    )


def test_telegram_markup_is_drawn() -> None:
    html = markup('<b>a &lt;b&gt;</b> <i>b</i> <a href="https://e.example?a&amp;b">c</a> <u>')
    assert html == (
        '<strong>a &lt;b&gt;</strong> <em>b</em> <a href="https://e.example?a&amp;b" rel="noopener noreferrer" '
        'target="_blank">c</a> &lt;u&gt;'
    )


def test_a_thread_shows_the_news_of_each_update() -> None:
    def body(number: int) -> dict[str, Any]:
        return {"text": f"text {number}", "thread": f"news {number}", "parts": []}

    earlier = tuple(SentMessage(body(number), at=f"Fri 10:0{number}") for number in (1, 2))
    text = inspected(REGISTRY["slack"].draw(SentMessage(body(3), "Fri 10:03", earlier))).text
    assert "2 replies in the thread" in text
    assert "news 1" not in text  # the first message has no thread
    assert text.index("text 3") < text.index("Fri 10:02  news 2") < text.index("Fri 10:03  news 3")


def test_each_update_of_a_storm_keeps_its_own_replies() -> None:
    def body(name: str) -> dict[str, Any]:
        block = {"type": "section", "text": {"type": "mrkdwn", "text": name}}
        return {"text": "Storm", "thread": None, "log": True, "parts": [{"text": "", "blocks": [block]}]}

    text = inspected(REGISTRY["slack"].draw(SentMessage(body("two"), "", (SentMessage(body("one")),)))).text
    assert "2 replies in the thread" in text
    assert (text.count("one"), text.count("two")) == (1, 1)


def test_an_incident_shows_its_last_payload_when_it_is_resolved() -> None:
    found = drawn("pagerduty", conversation(), conversation(alert(resolved=True), version=2))
    assert found.text.startswith("resolvedHighLatency")
    assert "Events as sent (2)" in found.text


def test_requests_of_a_webhook_are_drawn_newest_first() -> None:
    text = drawn("webhook", conversation(), conversation(alert(resolved=True), version=2)).text
    assert text.index("resolvedFri 10:01 · POST · 1 alert") < text.index("firingFri 10:00 · POST · 1 alert")
