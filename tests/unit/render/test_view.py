"""What a template sees of a conversation."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.model import DAY, HOUR, MINUTE, Alert, Conversation, ShownAlert, Status
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


def test_level_and_name_stand_beside_the_labels_where_they_differ() -> None:
    shown = values(
        firing_alert(job="a"),
        firing_alert(level="critical", alertname="Slow", job="b"),
        firing_alert(alertname="Off"),
    )
    assert [alert.differing["alertname"] for alert in shown["alerts"]] == ["Slow", "Down", "Off"]
    assert [(alert.title, alert.apart) for alert in shown["alerts"]] == [
        ("critical Slow", {"job": "b"}), ("warning Down", {"job": "a"}), ("warning Off", {"job": "a"}),
    ]  # fmt: skip
    assert [alert.brief for alert in values(firing_alert())["alerts"]] == ["Down"]


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


def test_the_scope_has_what_the_title_does_not_say() -> None:
    group = {"alertname": "Down", "cluster": "eu", "instance": "n0"}
    shown = values(firing_alert(cluster="eu", instance="n0"), group_labels=group)
    assert (shown["title"], shown["scope"]) == ("Down on n0", "cluster=eu")
    assert shown["headline"] == "🟠 WARNING: Down on n0 (cluster=eu)"
    beside = values(firing_alert(cluster="eu"), ended(cluster="eu", instance="n0"), group_labels=group)
    assert beside["about"] == "Down on a (cluster=eu, instance=n0; 1 resolved)"


def test_a_headline_of_what_ended_says_how_long_it_took() -> None:
    shown = values(ended(after=20 * MINUTE, instance="n0"), ended(after=HOUR, instance="n1"))
    assert shown["headline"] == "✅ Resolved: Down × 2: n0, n1 after 1 h"
    assert (shown["counts"], shown["color"]) == ("2 resolved", "green")


def test_the_colour_follows_the_most_urgent_level_that_fires() -> None:
    for level, color, emoji in (
        ("critical", "red", "🔴"),
        ("warning", "orange", "🟠"),
        ("info", "blue", "🔵"),
    ):
        shown = values(firing_alert(level=level), ended("critical"))
        assert (shown["color"], shown["emoji"], shown["alerts"][0].emoji) == (color, emoji, emoji)


def test_the_scope_names_the_source_where_several_are_configured() -> None:
    shown = values(firing_alert(), group_labels={"alertname": "Down", "cluster": "eu-1"}, source="eu-prod")
    assert (shown["scope"], shown["source"]) == ("cluster=eu-1, from eu-prod", "eu-prod")
    assert shown["headline"].endswith("(cluster=eu-1, from eu-prod)")
    assert values(firing_alert(), source="eu-prod")["scope"] == "from eu-prod"


@pytest.mark.parametrize(
    ("inhibited", "words"), [(0, ""), (3, " (+3 inhibited)"), (1_000, " (+1000 inhibited)"), (1_001, " (1000+ inhibited)")]
)  # fmt: skip
def test_the_title_says_how_many_alerts_are_inhibited(inhibited: int, words: str) -> None:
    assert values(firing_alert(), inhibited=inhibited)["title"] == f"Down on a{words}"


@pytest.mark.parametrize(
    ("annotations", "summary", "description"),
    [
        ({"summary": "s", "description": "d"}, "s", "d"),
        ({"summary": "s", "description": "s"}, "s", ""),
        ({"description": "db1 unreachable for 5m"}, "db1 unreachable for 5m", ""),
        ({"description": "one\ntwo\nthree"}, "one", "two\nthree"),
        ({"message": "m"}, "m", ""),
        ({"summary": " ", "description": "", "message": "m"}, "m", ""),
        ({"impact": "i"}, "", ""),
    ],
)
def test_a_missing_summary_is_taken_from_the_description(
    annotations: dict[str, str], summary: str, description: str
) -> None:
    shown = values(firing_alert(replace(UP, annotations=annotations)))
    assert (shown["summary"], shown["description"]) == (summary, description)


def test_every_annotation_is_shown_once() -> None:
    notes = {
        "summary": "s", "description": "d", "message": "m", "impact": "all\nof it", "runbook_url": "https://r.example",
        "dashboard": "no address", "__value_string__": "x", "empty": " ",
    }  # fmt: skip
    shown = values(firing_alert(replace(UP, annotations=notes)))
    assert shown["notes"] == {"dashboard": "no address", "impact": "all\nof it", "message": "m"}
    (alert,) = shown["alerts"]
    assert (alert.summary, alert.description, alert.notes) == ("", "", {})


@pytest.mark.parametrize(
    "address", ["http://:9090/graph?g0.expr=up", "http://prom:99999/graph", "http://prom\\\\x/graph"]
)
def test_a_source_that_no_provider_opens_is_text(address: str) -> None:
    shown = values(firing_alert(replace(UP, generator_url=address)))
    assert (shown["links"].source, shown["notes"]) == ("", {"source": address})


def test_grafana_gives_each_alert_its_own_silence_and_no_common_one() -> None:
    several = [
        firing_alert(replace(UP, links={"silence": f"https://g.example/silence/{job}"}), job=job)
        for job in "ab"
    ]
    shown = values(*several, external_url="https://g.example")
    assert (shown["links"].silence, shown["sender"]) == ("", "Grafana")
    assert [dict(alert.own_links)["Silence"] for alert in shown["alerts"]] == [
        "https://g.example/silence/a", "https://g.example/silence/b"
    ]  # fmt: skip
    assert (
        values(several[0], external_url="https://g.example")["links"].silence == "https://g.example/silence/a"
    )


def test_no_annotation_hides_another() -> None:
    notes = {"runbook_url": "https://a.example", "runbook": "https://b.example", "a b": "1", "a  b": "2"}
    shown = values(firing_alert(replace(UP, annotations=notes)))
    assert shown["links"].runbook == "https://a.example"
    assert sorted(shown["notes"].values()) == ["1", "2", "https://b.example"]


@pytest.mark.parametrize(
    ("levels", "colors"), [("abc", "rob"), ("abcd", "royb"), ("abcdef", "rooyyb"), ("ab", "rb"), ("a", "r")]
)
def test_each_level_has_a_colour_by_its_urgency(levels: str, colors: str) -> None:
    templates = Templates(levels=tuple(levels), timezone="UTC")
    shown = [
        templates.values(Conversation("any", "0" * 32, 1, 1, NOW, alerts=(firing_alert(level=level),)))[
            "color"
        ]
        for level in levels
    ]
    assert "".join(each[0] for each in shown) == colors


def test_an_alert_says_what_its_message_does_not_say() -> None:
    one, two = ({"summary": "s", "impact": which, "owner": "a"} for which in "12")
    shown = values(
        firing_alert(replace(UP, annotations=one), job="a"),
        firing_alert(replace(UP, annotations=two), job="b"),
    )
    assert shown["notes"] == {"owner": "a"}
    assert [(alert.summary, alert.notes, alert.brief) for alert in shown["alerts"]] == [
        ("", {"impact": "1"}, "a"), ("", {"impact": "2"}, "b")
    ]  # fmt: skip


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


def test_the_links_of_a_group_are_those_of_the_alert_that_the_title_names() -> None:
    one, two = (
        replace(UP, annotations={"runbook_url": "https://r.example", "dashboard_url": f"https://d.example/{which}"},
                generator_url=f"https://p.example/{which}")
        for which in "12"
    )  # fmt: skip
    shown = values(
        firing_alert(one, "info", job="a"), firing_alert(two, "critical", job="b"), external_url="https://am.example"
    )  # fmt: skip
    links = dict(shown["links"])
    assert (links["Dashboard"], links["Source"]) == ("https://d.example/2", "https://p.example/2")
    assert "Silence these 2" in links
    assert [alert.own_links for alert in shown["alerts"]] == [
        (), (("Dashboard", "https://d.example/1"), ("Source", "https://p.example/1"))
    ]  # fmt: skip


def test_what_is_over_can_not_be_silenced() -> None:
    shown = values(ended(job="a"), ended(job="b"), external_url="https://am.example")
    assert "silence" not in str(dict(shown["links"])).lower()
    mixed = values(ended(job="a"), firing_alert(job="b"), external_url="https://am.example")
    assert "job%3D%22b%22" in dict(mixed["links"])["Silence"]
    assert [alert.links.silence != "" for alert in mixed["alerts"]] == [True, False]


def test_grafanas_values_are_a_note_of_the_alert() -> None:
    one = firing_alert(replace(UP, values="A=1.2"), job="a")
    assert values(one)["notes"] == {"value": "A=1.2"}
    shown = values(one, firing_alert(replace(UP, values="A=3"), job="b"))
    assert shown["notes"] == {}
    assert [alert.notes for alert in shown["alerts"]] == [{"value": "A=1.2"}, {"value": "A=3"}]
    own = replace(UP, annotations={"value": "88 %"}, values="A=0.88")
    assert values(firing_alert(own))["notes"] == {"value": "88 %", "value (Grafana)": "A=0.88"}


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
