"""What channels draw is safe HTML, whatever a label says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels import REGISTRY
from router.channels.drawing import barred, link, tag
from router.render.samples import sample_conversations
from tests.examples import examples
from tests.unit.channels.drawings import drawn, inspected
from tests.unit.channels.rigs import ChannelRig, channels_with, rig_of
from tests.unit.channels.talk import TEMPLATES, alert, conversation

ODD = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "</pre></div></article>",
    "<https://evil.example|*click*>", "[click](<https://evil.example>)", "&lt;b&gt;", "`<b>`", "```<b>```", "*<b>*",
    "_~*<i>*~_", "\\<b>", "**<b>**", "<!channel> <@U1> @everyone", "{{ 1/0 }}", "\x00\x1b\u202e", "]]>", "<!--", "<![CDATA[",
    "http://a\"onmouseover='x'", "https://a.example/<b>",
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name, spec in REGISTRY.items() if not spec.digest])
@pytest.mark.parametrize("text", ODD)
def test_odd_labels_are_drawn_as_text(name: str, rig: ChannelRig, text: str) -> None:
    notes = {
        "summary": text,
        "description": text,
        "runbook_url": text,
        "dashboard_url": "javascript:alert(1)",
    }
    odd = alert(annotations=notes, alertname=text, instance=text)
    update = conversation(odd, version=2, remote=rig.conversations[-1].remote)
    found = drawn(name, conversation(odd), update)
    if not rig.links_bare_addresses:
        assert not any(each.startswith("https://evil") for each in found.addresses)


def test_every_sample_conversation_can_be_drawn(name: str) -> None:
    spec = REGISTRY[name]
    for kind, sample in sample_conversations(TEMPLATES.levels).items():
        if spec.digest is ("digest" in kind) and not ("storm" in kind and spec.storm_every is None):
            assert drawn(name, sample).text


@pytest.mark.parametrize("name", channels_with(lambda rig: rig.markup))
def test_markup_is_drawn(rig: ChannelRig) -> None:
    assert rig.markup is not None
    assert rig.markup.draw(rig.markup.text) == rig.markup.html


TEXT = st.text(st.sampled_from("<>&*_~`|:[]()\\\"'/ab ht ps\n") | st.characters(), max_size=60)


@examples(60)
@given(TEXT | st.sampled_from(ODD))
def test_markup_of_any_text_is_safe(text: str) -> None:
    for html in (tag("p", text, class_=text), link(text, text), barred(text, text)):
        inspected(html)
    for name in channels_with(lambda rig: rig.markup):
        sample = rig_of(name).markup
        assert sample is not None
        inspected(sample.draw(text))
