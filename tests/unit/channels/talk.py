"""Conversations to render and send: plain ones, and Hypothesis strategies for odd ones."""

import hashlib
import re
from typing import Any

from hypothesis import strategies as st

from router.model import (
    DAY,
    HOUR,
    MINUTE,
    Alert,
    Conversation,
    Destination,
    DigestLine,
    DigestView,
    Labels,
    ShownAlert,
    Status,
)
from router.render import Templates

NOW = 1_795_248_000_000  # Sat 21 Nov 2026 08:00 UTC
LEVELS = ("critical", "warning", "info")
TOKEN = "0123456789abcdef0123456789abcdef"
TEMPLATES = Templates(levels=LEVELS, timezone="Europe/Berlin")


def alert(*, resolved: bool = False, annotations: Labels | None = None, **labels: str) -> Alert:
    labels = {"alertname": "HighLatency", "cluster": "eu-1", "severity": "critical", **labels}
    return Alert(
        fingerprint=hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16],
        labels=labels,
        annotations={"summary": "p99 is over 2 s"} if annotations is None else annotations,
        status=Status.RESOLVED if resolved else Status.FIRING,
        starts_at=NOW - HOUR,
        ends_at=NOW - MINUTE if resolved else None,
        generator_url="https://prometheus.example/graph?g0.expr=up",
    )


def shown(*alerts: Alert) -> tuple[ShownAlert, ...]:
    return tuple(ShownAlert(each, each.labels["severity"], news=True) for each in alerts)


def conversation(*alerts: Alert, **fields: Any) -> Conversation:
    return Conversation(
        **{
            "destination": "test",
            "token": TOKEN,
            "episode": 1,
            "version": 1,
            "revision": f"{fields.get('version', 1)}-0123abcd",
            "now": NOW,
            "receiver": "oncall",
            "group_labels": {"alertname": "HighLatency", "cluster": "eu-1"},
            "external_url": "https://alertmanager.example",
            "alerts": shown(*(alerts or (alert(),))),
            **fields,
        }
    )


def destination(channel: str, options: Any) -> Destination:
    return Destination(options.key("oncall"), channel, options, per_alert=options.per_alert)


# Any text of a label. Texts that break things are more likely: headers, markup, templates, separators.
_text = st.text(max_size=40) | st.sampled_from(
    ["\r\nBcc: eve@example.com", "x\n", "\x00", "\u2028", "=?utf-8?q?x=0D=0ABcc:_eve=40example.com=0A=0Abody?=", "==??utf-8?q?=00?=", "<b>&\"'", "{{ 7 * 7 }}", ".", "\r", "ü" * 300,
     "🙂" * 90, "a" * 2_000, "\x85", "\x0b", "\u202e", "<!channel>", "a\tb", "x" * 200 + " ü"]
)  # fmt: skip
_labels = st.dictionaries(
    _text | st.sampled_from(["alertname", "instance", "service", "items"]), _text, max_size=4
)
_moments = st.none() | st.integers(0, 253_402_214_400_000)
_levels = st.sampled_from(LEVELS)
_alerts = st.builds(
    Alert,
    fingerprint=st.just("00000000000000aa"),
    labels=_labels,
    annotations=st.dictionaries(_text | st.sampled_from(["summary", "description", "runbook_url"]), _text, max_size=3),
    status=st.sampled_from(Status),
    starts_at=_moments,
    ends_at=_moments,
    generator_url=_text | st.just("https://prometheus.example/"),
)  # fmt: skip
_lines = st.builds(
    DigestLine, alert=_alerts, level=_levels, fired=st.integers(0, 99), note=_text, is_new=st.booleans(), opens_at=_moments,
    source=_text, external_url=_text | st.just("https://alertmanager.example"),
)  # fmt: skip
_some_lines = st.lists(_lines, max_size=3).map(tuple)
conversations = st.builds(
    Conversation,
    destination=st.just("test"),
    token=st.just(TOKEN),
    episode=st.integers(1, 3),
    version=st.integers(1, 9),
    revision=st.integers(1, 9).map("{}-0123abcd".format),
    now=st.integers(NOW, NOW + DAY),
    receiver=_text,
    group_labels=_labels,
    external_url=_text | st.just("https://alertmanager.example"),
    truncated=st.integers(0, 2),
    alerts=st.lists(
        st.builds(ShownAlert, alert=_alerts, level=_levels, news=st.booleans(), held_since=st.none() | st.just(NOW)),
        min_size=1, max_size=3, unique_by=lambda each: each.alert.identity,
    ).map(tuple),
)  # fmt: skip
digests = st.builds(
    DigestView,
    since=st.just(NOW - DAY),
    until=st.just(NOW),
    firing=_some_lines,
    ended=_some_lines,
    flapping=_some_lines,
    held=_some_lines,
    obsolete=_some_lines,
)


def without_row(text: str) -> int:
    """Return how many alerts a message counts instead of showing a row for each. The names that it gives are checked."""
    found = re.search(
        r"… and (\d+) more (?:in the thread )?\((\d+ firing)?(?:, )?(\d+ resolved)?\)(?:: (.+))?", text
    )
    if found is None:
        assert "… and " not in text
        return 0
    count = int(found[1])
    assert count == sum(int(each.split()[0]) for each in found.groups()[1:3] if each)
    if found[4] is None:  # they are in the thread
        return count
    parts = re.fullmatch(r"(.*?)(?:(?:, )?(?:and )?(\d+) not named here \((.*?)\))?", found[4])
    assert parts is not None
    names, unnamed, counts = parts.groups()
    named = [each for each in names.split(", ") if each]
    assert len(named) + int(unnamed or 0) == count
    assert not unnamed or sum(int(each.split()[0]) for each in counts.split(", ")) == int(unnamed)
    return count
