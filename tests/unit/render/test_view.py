"""What a template sees of a conversation."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.model import DAY, HOUR, MINUTE, Alert, Conversation, DigestLine, DigestView, ShownAlert, Status
from router.render import Templates

TEMPLATES = Templates(levels=("critical", "warning", "info"), timezone="Europe/Berlin")
NOW = 1_763_762_400_000  # Fri 21 Nov 2025 23:00 in Berlin
UP = Alert("0" * 16, {"alertname": "Down", "severity": "warning", "job": "a"}, {"summary": "It is down"}, Status.FIRING, NOW - HOUR)  # fmt: skip


def firing_alert(
    alert: Alert = UP, level: str = "warning", *, news: bool = True, **labels: str
) -> ShownAlert:
    return ShownAlert(replace(alert, labels={**alert.labels, **labels}), level, news=news)


def ended(level: str = "warning", *, after: int = HOUR, **labels: str) -> ShownAlert:
    return firing_alert(
        replace(UP, status=Status.RESOLVED, ends_at=NOW - HOUR + after), level, news=True, **labels
    )


def values(*alerts: ShownAlert, **fields: Any) -> dict[str, Any]:
    plain = Conversation(destination="any", token="0" * 32, episode=1, version=1, now=NOW, alerts=alerts)
    return TEMPLATES.values(replace(plain, **fields))


def test_the_most_urgent_stand_first_and_what_ended_last() -> None:
    shown = values(
        ended("critical", job="over"),
        firing_alert(level="info", job="info"),
        firing_alert(replace(UP, starts_at=None), "critical", job="when?"),
        firing_alert(level="critical", job="young"),
        firing_alert(replace(UP, starts_at=NOW - DAY), "critical", job="old"),
    )
    assert [alert.labels["job"] for alert in shown["alerts"]] == ["old", "young", "when?", "info", "over"]
    assert [len(shown["firing"]), len(shown["resolved"])] == [4, 1]


def test_shared_labels_are_separate_from_differing_ones() -> None:
    shown = values(firing_alert(job="a"), firing_alert(job="b", extra="x"))
    assert shown["common_labels"] == {"alertname": "Down", "severity": "warning"}
    assert [alert.differing for alert in shown["alerts"]] == [{"job": "a"}, {"extra": "x", "job": "b"}]


def test_labels_that_title_scope_and_level_do_not_say() -> None:
    shown = values(firing_alert(cluster="eu"), group_labels={"alertname": "Down", "cluster": "eu"})
    assert shown["scope"] == "cluster=eu"
    assert shown["other_labels"] == {"job": "a"}
    odd = values(firing_alert(level="info"))  # its severity label says warning
    assert odd["other_labels"] == {"job": "a", "severity": "warning"}


def test_the_level_is_that_of_the_most_urgent_that_fires() -> None:
    assert values(firing_alert(level="info"), ended("critical"))["level"] == "info"
    assert values(ended("info"), ended("critical"))["level"] == "critical"
    assert values(firing_alert(level="unheard-of"))["level"] == "info"


def test_news_are_alerts_whose_status_is_notified_first() -> None:
    shown = values(firing_alert(job="new"), firing_alert(job="known", news=False), ended(job="gone"))
    assert [alert.labels["job"] for alert in shown["new_firing"]] == ["new"]
    assert [alert.labels["job"] for alert in shown["new_resolved"]] == ["gone"]


def test_it_is_resolved_when_nothing_fires_and_nothing_was_hidden() -> None:
    assert values(ended())["status"] == "resolved"
    assert values(ended(), truncated=1)["status"] == "firing"
    assert values(ended(), firing_alert())["status"] == "firing"


def test_an_alert_lasts_until_its_end_or_now() -> None:
    (alert,) = values(ended(after=20 * MINUTE))["alerts"]
    assert alert.lasted == "20 min"
    (alert,) = values(firing_alert())["alerts"]
    assert (alert.lasted, f"{alert.started:%H:%M}") == ("1 h", "22:00")
    (alert,) = values(firing_alert(replace(UP, starts_at=None)))["alerts"]
    assert (alert.lasted, alert.started) == ("", None)


@pytest.mark.parametrize(
    ("alerts", "group", "title"),
    [
        ([firing_alert()], {}, "Down"),
        ([firing_alert(), firing_alert(alertname="Slow")], {}, "Down, Slow"),
        ([firing_alert(alertname=f"A{number}") for number in range(5)], {}, "A0, A1, A2 …"),
        ([firing_alert(), firing_alert(alertname="Slow")], {"alertname": "Group"}, "Group"),
        ([firing_alert(alertname="")], {}, "Unnamed alert"),
        ([firing_alert(alertname="a\nb")], {}, "a b"),
        ([], {}, "Unnamed alert"),
    ],
)
def test_there_is_always_a_title(alerts: list[ShownAlert], group: dict[str, str], title: str) -> None:
    assert values(*alerts, group_labels=group)["title"] == title


def test_a_receiver_is_unquoted() -> None:
    assert values(firing_alert(), receiver=r"team\.web/ops \(EU\)")["receiver"] == "team.web/ops (EU)"


def test_the_links_of_one_alert_are_its_own() -> None:
    alert = replace(
        UP,
        annotations={"runbook_url": "https://r.example", "dashboard": "javascript:x"},
        generator_url="https://p.example",
        links={"panel": "https://panel.example", "silence": "https://s.example"},
    )
    shown = values(firing_alert(alert), external_url="https://am.example")
    assert dict(shown["links"]) == {
        "Runbook": "https://r.example",
        "Dashboard": "https://panel.example",
        "Source": "https://p.example",
        "Silence": "https://s.example",
    }


def test_the_links_of_a_group_are_what_all_share() -> None:
    one, two = (
        {"runbook_url": "https://r.example", "dashboard": f"https://d.example/{which}"} for which in "12"
    )
    shown = values(
        firing_alert(replace(UP, annotations=one), job="a"),
        firing_alert(replace(UP, annotations=two), job="b"),
        external_url="https://am.example",
    )
    links = dict(shown["links"])
    assert links["Runbook"] == "https://r.example"
    assert "Dashboard" not in links
    assert "job" not in links["Silence"]
    assert [alert.links.dashboard[-1] for alert in shown["alerts"]] == ["1", "2"]


def test_what_was_held_longest_counts() -> None:
    shown = values(
        replace(firing_alert(), held_since=NOW - HOUR),
        replace(firing_alert(job="b"), held_since=NOW - 2 * HOUR),
        firing_alert(),
    )
    assert f"{shown['held_since']:%H:%M}" == "21:00"


def marked(text: str) -> str:
    return f"‹{text}›" if text else text  # noqa: RUF001  (marks that stand out in no input)


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.text(), max_size=4), st.text(), st.text())
def test_a_template_can_forget_to_escape_nothing(labels: dict[str, str], note: str, receiver: str) -> None:
    """Every string of a conversation has gone through the channel's escape."""
    alert = replace(UP, labels=labels, annotations={"summary": note, "description": note, "other": note})
    conversation = Conversation(
        destination="any", token="0" * 32, episode=1, version=1, now=NOW, receiver=receiver,
        group_labels=labels, external_url="https://am.example", alerts=(ShownAlert(alert, "warning", news=True),),
    )  # fmt: skip
    shown = TEMPLATES.values(conversation, marked)
    (row,) = shown["alerts"]
    texts = [shown[name] for name in ("title", "scope", "level", "summary", "description", "receiver", "external_url")]  # fmt: skip
    texts += [row.name, row.level, row.summary, row.description, *(address for _, address in shown["links"])]
    for mapping in (shown["common_labels"], shown["group_labels"], shown["other_labels"], shown["common_annotations"], row.labels, row.differing, row.annotations):  # fmt: skip
        texts += [text for pair in mapping.items() for text in pair]
    assert all(text == "" or (text[0] == "‹" and text[-1] == "›") for text in texts)  # noqa: RUF001  (as above)


# Digests


def digest(**lists: tuple[DigestLine, ...]) -> dict[str, Any]:
    return values(digest=DigestView(since=NOW - DAY, until=NOW, **lists))


def entry(
    level: str = "info", note: str = "", *, fired: int = 1, since: int = NOW - HOUR, **labels: str
) -> DigestLine:
    return DigestLine(replace(UP, labels={**UP.labels, **labels}, starts_at=since), level, fired, note)


def test_a_digest_says_its_period() -> None:
    shown = digest()
    assert shown["period"] == "Thu 20 Nov 23:00 to Fri 21 Nov 23:00, Europe/Berlin"
    assert (shown["empty"], shown["sections"], shown["counts"]) == (True, [], {})


def test_alerts_of_a_name_are_folded_in_a_digest() -> None:
    shown = digest(
        firing=(entry(job="a"), entry(job="b", fired=3, since=NOW - 2 * HOUR), entry("warning", job="c"))
    )
    (section,) = shown["sections"]
    assert [(each.level, each.count, each.fired, each.lasted) for each in section.entries] == [
        ("warning", 1, 1, "1 h"),
        ("info", 2, 4, "2 h"),
    ]
    assert section.entries[1].labels == {}
    assert (section.title, section.count, shown["counts"]) == ("Still firing", 3, {"Still firing": 3})


def test_a_digest_is_ordered_by_urgency_then_age() -> None:
    lines = tuple(
        entry("info", alertname=name, since=NOW - age) for name, age in (("young", HOUR), ("old", DAY))
    )
    nowhen = DigestLine(replace(UP, labels={"alertname": "when?"}, starts_at=None), "info", 1)
    (section,) = digest(ended=(nowhen, *lines, entry("critical", alertname="urgent")))["sections"]
    assert [each.name for each in section.entries] == ["urgent", "old", "young", "when?"]


def test_notes_keep_lines_apart() -> None:
    (section,) = digest(held=(entry(note="held until Mon 09:00"), entry(note="held until Tue 09:00")))[
        "sections"
    ]
    assert [each.note for each in section.entries] == ["held until Mon 09:00", "held until Tue 09:00"]


def test_each_list_of_a_digest_has_its_section() -> None:
    lines = (entry(),)
    shown = digest(firing=lines, ended=lines, flapping=lines, held=lines, obsolete=lines)
    titles = ["Still firing", "Flapping", "Came and went", "Held", "Nobody was notified"]
    assert [section.title for section in shown["sections"]] == titles
    assert not shown["empty"]


def test_a_shared_description_stands_once_although_the_summaries_differ() -> None:
    several = [
        firing_alert(
            replace(UP, annotations={"summary": f"{job} is down", "description": "Look.\nThen act."}), job=job
        )
        for job in "ab"
    ]
    shown = values(*several)
    assert (shown["summary"], shown["description"]) == ("Look.", "Then act.")
    assert [(each.summary, each.description) for each in shown["alerts"]] == [
        ("a is down", ""),
        ("b is down", ""),
    ]
