"""The words about a destination: a sentence for each state."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from router.model import DAY, HOUR, MINUTE, SECOND
from router.web.api.destination_words import DestinationFacts, StateName, advice, describe

NOW = 1_795_815_660_000  # Fri 27 Nov 2026 22:41 in Berlin
BERLIN = ZoneInfo("Europe/Berlin")


def facts(**known: Any) -> DestinationFacts:
    return DestinationFacts("slack:C1", "Slack", **known)


FAILING = {"failing_since": NOW - 12 * MINUTE, "reason": "http 503", "next_at": NOW + 40 * SECOND}


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"is_used": False}, "unused: nothing was sent to it yet"),
        ({"is_used": False, "is_routed": False}, "unused: no route sends to it"),
        ({}, "healthy: no delivery is in the history"),
        ({"last_success": NOW}, "healthy: last delivered just now"),
        ({"last_success": NOW - 26 * HOUR}, "healthy: last delivered 1 d 2 h ago"),
        ({"is_used": False, "backlog": 1, "oldest_at": NOW - SECOND}, "healthy: nothing was sent yet; 1 message waits, for 1 s"),
        (
            {"last_success": NOW - MINUTE, "backlog": 600, "oldest_at": NOW - MINUTE, "a_minute": 60},
            "healthy: last delivered 1 min ago; 600 messages wait, the oldest for 1 min, all sent by 22:51",
        ),
        (
            {**FAILING, "last_success": NOW - DAY, "backlog": 14, "oldest_at": NOW - 11 * MINUTE},
            ('failing since 22:29 (12 min); Slack: "http 503"; last success Thu 22:41; next try in 40 s; 14 messages wait, '
            "the oldest for 11 min"),
        ),
        (
            {**FAILING, "next_at": NOW - 1, "backlog": 10_000, "backlog_is_exact": False, "dead_letters": 2},
            ('failing since 22:29 (12 min); Slack: "http 503"; no success among its last attempts; it is tried now; '
            "10,000+ messages wait; 2 dead letters"),
        ),
        (
            {**FAILING, "needs_repair": True, "paused_until": NOW + 3 * MINUTE, "is_used": False},
            'broken since 22:29 (12 min); Slack: "http 503"; no success yet; next try in 3 min',
        ),
        ({**FAILING, "is_reported": True, "next_at": None}, 'broken since 22:29 (12 min); Slack: "http 503"; no success among its last attempts'),
        (
            {**FAILING, "is_rate_limited": True, "paused_until": NOW + MINUTE},
            'rate limited: paused until 22:42 (for 1 min); Slack: "http 503"; no success among its last attempts; next try in 1 min',
        ),
        (
            {"paused_until": NOW + MINUTE, "pause_reason": "no channel\x1b[2J\nslack"},
            'paused until 22:42 (for 1 min); Slack: "no channel [2J slack"',
        ),
        ({"paused_since": NOW - HOUR, "paused_by": "alice"}, "paused by alice since 21:41 (1 h)"),
        ({"paused_since": NOW - HOUR, **FAILING, "last_success": NOW - HOUR}, 'paused by an operator since 21:41 (1 h); failing since 22:29 (12 min); Slack: "http 503"; last success 21:41'),
        ({"is_alive": False}, "broken: deliveries have ended"),
        ({"is_named": False, "last_success": NOW - HOUR, "unsent_ends": 1}, "healthy: last delivered 1 h ago; no longer in routes.yaml, has yet to be notified of 1 end"),
        ({"is_named": False, "last_success": NOW - HOUR}, "healthy: last delivered 1 h ago; no longer in routes.yaml"),
    ],
)  # fmt: skip
def test_each_state_has_a_sentence(known: dict[str, Any], words: str) -> None:
    found = facts(**known)
    assert describe(found, NOW, BERLIN) == words
    assert words.startswith(found.state)


def test_a_provider_cannot_fill_the_page() -> None:
    words = describe(facts(failing_since=NOW, reason="x" * 100_000), NOW, BERLIN)
    assert len(words) < 500


def test_states_are_ordered_by_urgency() -> None:
    assert [each.rank for each in StateName] == list(range(6))


def test_only_trouble_has_advice() -> None:
    assert advice(facts(last_success=NOW)) is None
    assert advice(facts(paused_until=NOW + 1, is_rate_limited=True)) is None
    for known in ({"is_alive": False}, FAILING, {**FAILING, "needs_repair": True}, {"paused_since": NOW}):
        assert advice(facts(**known))
