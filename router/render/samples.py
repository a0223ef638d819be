"""Sample conversations for the dry run of templates: a plain one, an odd one, one that is over, digests, storms."""

from dataclasses import replace

from router.model import (
    DAY,
    HOUR,
    MINUTE,
    Alert,
    Conversation,
    DigestLine,
    DigestView,
    Millis,
    ShownAlert,
    Status,
    StormLine,
    StormNews,
    StormView,
)

_NOW: Millis = 1_763_762_400_000  # Fri 21 Nov 2025 22:00 UTC


def sample_conversations(levels: tuple[str, ...]) -> dict[str, Conversation]:
    first, last = levels[0], levels[-1]
    plain = Alert(
        fingerprint="00000000000000aa",
        labels={"alertname": "HighErrorRate", "cluster": "eu-1", "service": "checkout", "severity": first},
        annotations={
            "summary": "5 % of checkouts fail",
            "description": "More than 5 % of requests ended in a 5xx.",
            "runbook_url": "https://runbooks.example/HighErrorRate",
        },
        status=Status.FIRING,
        starts_at=_NOW - 5 * MINUTE,
        generator_url="https://prometheus.example/graph",
    )
    ended = Alert(
        fingerprint="00000000000000ab",
        labels={**plain.labels, "service": "cart"},
        annotations=plain.annotations,
        status=Status.RESOLVED,
        starts_at=_NOW - HOUR,
        ends_at=_NOW,
    )
    odd = Alert(
        fingerprint="00000000000000ac",
        labels={
            "": "",
            "items": "<!channel> & <b>",
            "label with spaces": "{{ 1/0 }}\n",
            "zürich": "\u202e🙂",
        },
        annotations={"summary": "", "description": "x" * 5_000, "runbook_url": "javascript:alert(1)"},
        status=Status.FIRING,
    )
    base = Conversation(destination="sample", token="0" * 32, episode=1, version=1, now=_NOW)
    digest = DigestView(
        since=_NOW - DAY, until=_NOW,
        firing=(DigestLine(plain, first, 1, is_new=True, source="prod"), DigestLine(odd, last, 1)),
        ended=(DigestLine(ended, last, 1),), flapping=(DigestLine(ended, first, 7), DigestLine(plain, first, 5, is_new=True)),
        held=(DigestLine(plain, last, 1, "held until Mon 09:00", opens_at=_NOW + DAY),),
        obsolete=(DigestLine(ended, last, 1, "ended before anyone was notified"),),
    )  # fmt: skip
    lines = (
        StormLine(
            {"alertname": "HighErrorRate", "cluster": "eu-1"}, first, 12, "https://alertmanager.example"
        ),
        StormLine(odd.labels, last, 1, "javascript:alert(1)"),
    )
    news = StormNews(lines, lines[:1], (*lines, replace(lines[0], labels={"alertname": "HostDown"})))
    storm = StormView(250, 2_000, lines, over=False, resolved=3, news=news, more=True)
    return {
        "plain": replace(
            base, receiver="oncall", group_labels={"alertname": "HighErrorRate", "cluster": "eu-1"},
            external_url="https://alertmanager.example", alerts=(ShownAlert(plain, first, news=True), ShownAlert(ended, first, news=True)),
        ),
        "odd": replace(base, truncated=7, alerts=(ShownAlert(odd, last, news=True, held_since=_NOW - HOUR),)),
        "ended": replace(base, alerts=(ShownAlert(ended, first, news=True),), remote={"ts": "1"}),
        "digest": replace(base, digest=digest),
        "storm": replace(base, storm=storm),
        "storm that is over": replace(
            base, storm=StormView(0, 0, (), over=True, resolved=1, news=StormNews(resolved=lines[:1]))
        ),
        "empty digest": replace(base, digest=DigestView(since=_NOW - DAY, until=_NOW)),
    }  # fmt: skip
