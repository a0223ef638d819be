"""The variables of a digest: who is named, what is new, what is counted, and what fits."""

from dataclasses import replace
from typing import Any

import pytest

from router.model import (
    DAY,
    HOUR,
    MINUTE,
    OWN_SOURCE,
    Alert,
    Conversation,
    DigestLine,
    DigestView,
    Labels,
    Status,
)
from router.render import Templates
from router.render.digest_entry import DigestEntry

TEMPLATES = Templates(levels=("critical", "warning", "info"), timezone="Europe/Berlin")
NOW = 1_763_762_400_000  # Fri 21 Nov 2025 22:00 UTC, 23:00 in Berlin
AM = "https://am.example"


def line(
    name: str = "Cert", level: str = "info", *, ended: bool = False, since: int | None = NOW - HOUR, notes: Labels | None = None,
    source: str = "", url: str = "https://prometheus.example/graph", fired: int = 1, note: str = "", is_new: bool = False,
    opens_at: int | None = None, **labels: str,
) -> DigestLine:  # fmt: skip
    alert = Alert(
        fingerprint="00000000000000aa", labels={"alertname": name, "severity": level, **labels}, annotations=notes or {},
        status=Status.RESOLVED if ended else Status.FIRING, starts_at=since, ends_at=NOW - MINUTE if ended else None,
        generator_url=url,
    )  # fmt: skip
    return DigestLine(alert, level, fired, note, is_new, opens_at, source, AM)


def digest(**lists: Any) -> dict[str, Any]:
    view = DigestView(NOW - DAY, NOW, **{name: tuple(lines) for name, lines in lists.items()})
    return TEMPLATES.values(Conversation("digest:daily", "0" * 32, 1, 1, NOW, digest=view))


def entries(**lists: Any) -> list[DigestEntry]:
    (section,) = digest(**lists)["sections"]
    return list(section.entries)


def jobs(count: int, **given: Any) -> list[DigestLine]:
    return [
        line("KubeJobFailed", namespace=f"team-{n}", job_name=f"nightly-{n}", **given) for n in range(count)
    ]


def test_a_digest_says_its_period() -> None:
    shown = digest()
    assert shown["period"] == "Thu 20 Nov 23:00 to Fri 21 Nov 23:00, Europe/Berlin"
    assert (shown["empty"], shown["sections"], shown["counts"], shown["levels"]) == (True, [], {}, ())
    assert (shown["headline"], shown["color"], list(shown["lines"])) == ("all quiet", "green", [])


def test_each_list_of_a_digest_has_its_section() -> None:
    one = [line()]
    shown = digest(firing=one, ended=one, flapping=one, held=one, obsolete=one)
    titles = ["Still firing", "Flapping", "Held", "Ended", "Never notified"]
    assert [section.title for section in shown["sections"]] == list(shown["counts"]) == titles
    assert not shown["empty"]


def test_alerts_of_one_name_are_named_one_by_one() -> None:
    """Twelve jobs failed: which are they?"""
    (entry,) = entries(firing=jobs(12))
    assert entry.what == "KubeJobFailed \N{MULTIPLICATION SIGN} 12"
    assert entry.by == "namespace/job_name"
    assert entry.identities == tuple(f"team-{n}/nightly-{n}" for n in range(12))
    assert (entry.unlisted, entry.labels) == (0, {})


def test_a_single_alert_is_named_by_where_it_is() -> None:
    (entry,) = entries(firing=[line(instance="db-1", job="node")])
    assert (entry.what, entry.listed, entry.by, entry.labels) == ("Cert", "db-1", "", {"job": "node"})


def test_alerts_of_one_name_and_level_are_one_entry() -> None:
    found = entries(
        firing=[
            line(job="a"),
            line(job="b", fired=3, since=NOW - 2 * HOUR),
            line("Cert", "warning", job="c"),
        ]
    )
    assert [(each.level, each.count, each.fired, each.lasted) for each in found] == [
        ("warning", 1, 1, "1 h"),
        ("info", 2, 4, "2 h"),
    ]


def test_entries_are_ordered_by_severity_then_new_then_size() -> None:
    found = entries(
        firing=[
            line("known", fired=0), line("often", fired=3), line("new", is_new=True), line("also"),
            line("worst", "critical"), line("also", instance="n1"),
        ]
    )  # fmt: skip
    assert [each.name for each in found] == ["worst", "new", "often", "also", "known"]


def test_what_is_new_is_marked_and_comes_first() -> None:
    lines = jobs(3)
    lines[2] = replace(lines[2], is_new=True)
    shown = digest(firing=[*lines, line("Disk", is_new=True)])
    (section,) = shown["sections"]
    job, disk = sorted(section.entries, key=lambda each: -each.count)
    assert job.listed == "team-2/nightly-2 (new), team-0/nightly-0, team-1/nightly-1"
    assert (job.new, job.news, disk.new, disk.news) == (1, "1 new", 1, "new")
    assert (section.new, section.about) == (2, "2 new")


@pytest.mark.parametrize(("is_new", "about"), [(True, "all new"), (False, "none new")])
def test_what_holds_for_all_is_said_once(is_new: bool, about: str) -> None:
    (section,) = digest(firing=[line(is_new=is_new), *jobs(2, is_new=is_new)])["sections"]
    assert section.about == about
    assert [each.news for each in section.entries] == ["", ""]
    assert "new" not in "".join(each.listed for each in section.entries)


def test_flapping_is_counted_for_all_and_for_each() -> None:
    (section,) = digest(
        flapping=[
            line("Down", instance="n1", fired=35),
            line("Down", instance="n2", fired=4, ended=True),
            line("Slow", instance="n3", fired=5),
        ]
    )["sections"]
    down, slow = section.entries
    assert section.about == "fired again and again"
    assert down.facts == "1 fire now, since 22:00 (1 h), fired 39 times"
    assert down.listed == "n1 (35 times), n2 (4 times)"
    assert (slow.facts, slow.listed) == ("since 22:00 (1 h), fired 5 times", "n3")


def test_what_is_held_has_its_opening() -> None:
    monday = NOW + 2 * DAY + 10 * HOUR
    (section,) = digest(
        held=[
            line(note="held until Tue 09:00", opens_at=monday + DAY),
            line(note="held until Mon 09:00", opens_at=monday, is_new=True),
        ]
    )["sections"]
    assert section.about == "1 new, next opening Mon 09:00"
    assert [each.note for each in section.entries] == ["held until Mon 09:00", "held until Tue 09:00"]
    assert [each.opens and f"{each.opens:%a %H:%M}" for each in section.entries] == ["Mon 09:00", "Tue 09:00"]


def test_the_usual_note_of_a_section_is_said_once() -> None:
    note = "ended before anyone was notified"
    (section,) = digest(obsolete=[line(ended=True, note=note), line("Other", note="its rule is gone")])[
        "sections"
    ]
    assert (section.about, [each.note for each in section.entries]) == (note, ["", "its rule is gone"])


@pytest.mark.parametrize(
    ("lines", "timing"),
    [
        ([line(instance="a", since=NOW - 2 * DAY)], "since Wed 23:00 (2 d)"),
        ([line(instance="a"), line(instance="b", since=NOW - DAY)], "the oldest since Thu 23:00 (1 d)"),
        ([line(instance="a", ended=True)], "22:00, for 59 min"),
        ([line(instance=n, ended=True) for n in "ab"], "22:00 to 22:59"),
        ([line(instance="a", since=None)], ""),
    ],
)
def test_the_timing_says_since_when_or_when_it_fired(lines: list[DigestLine], timing: str) -> None:
    (entry,) = entries(firing=lines)
    assert entry.timing == timing


def test_a_summary_that_differs_is_an_example() -> None:
    (same,) = entries(firing=[line(instance=n, notes={"summary": "Expired"}) for n in "ab"])
    (other,) = entries(firing=[line(instance=n, notes={"summary": f"{n} expired"}) for n in "ab"])
    (described,) = entries(firing=[line(notes={"description": "It expired.\nRenew it."})])
    assert (same.summary, other.summary) == ("Expired", "for example: a expired")
    assert described.summary == "It expired."


def test_links_are_those_of_all_and_the_silence_is_of_those_that_fire() -> None:
    runbook = {"runbook_url": "https://runbooks.example/Cert"}
    (entry,) = entries(
        flapping=[
            line(instance="a", notes=runbook, url="https://p.example/a"),
            line(instance="b", notes=runbook, url="https://p.example/b"),
            line(instance="c", notes=runbook, url="https://p.example/c", ended=True),
        ]
    )
    (ended,) = entries(ended=[line(ended=True)])
    assert entry.links.runbook == "https://runbooks.example/Cert"
    assert entry.links.source == ""
    assert entry.links.silences == "Silence these 2"
    assert "a%7Cb" in entry.links.silence
    assert (ended.links.source, ended.links.silence) == ("https://prometheus.example/graph", "")


def test_alerts_of_several_sources_are_apart_and_name_theirs() -> None:
    found = entries(firing=[line(instance="a", source="eu"), line(instance="b", source="us")])
    assert [(each.source, each.facts) for each in found] == [
        (source, f"since 22:00 (1 h), from {source}") for source in ("eu", "us")
    ]
    own = line("DestinationBroken", source=OWN_SOURCE)
    one, itself = entries(firing=[line(instance="a", source="eu"), line(instance="b", source="eu"), own])
    assert (one.source, itself.source) == ("", "")


def test_the_headline_counts_by_level_and_names_the_worst() -> None:
    shown = digest(
        firing=[*jobs(12), line("ShopDown", "critical", is_new=True), line("Lag", "warning")],
        flapping=[line("Down", "warning", fired=9), line("Up", "critical", ended=True)],
        held=[line()],
        ended=[line(ended=True)],
        obsolete=[line(ended=True)],
    )
    assert shown["headline"] == (
        "1 critical, 2 warning, 12 info firing (1 new): ShopDown, Lag, Down, …; "
        "2 flapping, 1 held, 1 ended, 1 never notified"
    )
    assert [(each.level, each.color, each.counts) for each in shown["levels"]] == [
        ("critical", "red", "1 firing (1 new), 1 flapping"),
        ("warning", "orange", "2 firing, 1 flapping"),
        ("info", "blue", "12 firing, 1 held, 1 ended, 1 never notified"),
    ]


@pytest.mark.parametrize(
    ("lists", "headline", "color"),
    [
        ({"held": [line("Cert", "warning")]}, "1 held: Cert", "orange"),
        ({"ended": [line("Cert", "critical", ended=True)]}, "1 ended: Cert", "green"),
        (
            {"flapping": [line("Cert", ended=True)], "ended": [line("A", ended=True)]},
            "1 flapping: Cert; 1 ended",
            "green",
        ),
    ],
)
def test_the_headline_names_something_though_nothing_fires(lists: Any, headline: str, color: str) -> None:
    shown = digest(**lists)
    assert (shown["headline"], shown["color"]) == (headline, color)


def test_identities_fill_the_room_of_a_mail() -> None:
    (entry,) = entries(firing=jobs(400))
    assert (len(entry.identities), entry.unlisted) == (400, 0)
    (wide,) = entries(firing=[line(instance=f"{n}" + "x" * 300) for n in range(20)])
    assert (len(wide.identities), wide.unlisted) == (20, 0)


def test_what_an_entry_does_not_list_is_counted() -> None:
    (entry,) = entries(firing=jobs(5_000))
    assert len(entry.identities) > 400
    assert len(entry.identities) + entry.unlisted == 5_000
    assert entry.listed.endswith(f", and {entry.unlisted} more")


def test_a_long_entry_takes_no_room_from_others() -> None:
    """The names of many alerts fill what the entries leave."""
    several = [line(f"Rule{n}", level="info") for n in range(30)]
    shown = entries(firing=[*[replace(each, level="critical") for each in jobs(2_000)], *several])
    assert len(shown) == 31
    assert len(shown[0].identities) > 200


def test_labels_without_room_are_counted() -> None:
    labels: dict[str, Any] = {f"label{n}": "x" * 60 for n in range(9)}
    (entry,) = entries(firing=[line(**labels)])
    assert len(entry.labels) == 5
    assert entry.more_labels == "and 4 more labels"
    labels = {
        "label1": "y" * 100,
        "label2": "x" * 100,
        "label3": "x" * 100,
        "label4": "x" * 90,
        "label5": "z",
    }
    (entry,) = entries(firing=[line(**labels)])
    assert entry.more_labels == "and 1 more label"


def test_labels_shown_elsewhere_take_no_room() -> None:
    """The name and the severity of an entry are not among its labels."""
    shown: dict[str, Any] = {"stage": "live", "team": "y" * 90, "tier": "x" * 90, "zone": "z" * 90}
    (entry,) = entries(firing=[line("N" * 300, level="s" * 300, **shown)])
    assert (set(entry.labels), entry.more_labels) == (set(shown), "")


@pytest.mark.parametrize("names", [1, 30, 700, 5_000])
def test_every_alert_of_a_large_digest_is_in_an_entry_or_counted(names: int) -> None:
    lines = [
        line(f"Rule{n % names}", ("critical", "info")[n % 2], instance=f"host-{n}", is_new=not n % 9)
        for n in range(5_000)
    ]
    shown = digest(firing=lines[:3_000], held=lines[3_000:4_000], ended=lines[4_000:])
    for section in shown["sections"]:
        counted = sum(each.count for each in section.entries)
        counted += sum(int(each.split()[0]) for each in section.others)
        assert counted == section.count
        assert section.entries
    assert sum(len(section.entries) for section in shown["sections"]) <= 40


def test_the_most_urgent_alerts_of_all_sections_have_entries() -> None:
    shown = digest(
        firing=[line(f"Known{n}") for n in range(100)],
        held=[line(f"Held{n}", "critical") for n in range(20)],
    )
    firing, held = shown["sections"]
    assert (len(held.entries), held.others) == (20, ())
    assert len(firing.entries) == 20
    assert firing.others[0].startswith("80 info: ")


def test_names_without_an_entry_say_how_often_they_fired() -> None:
    (section,) = digest(flapping=[line(f"Down{n:02}", fired=3 + n % 2) for n in range(45)])["sections"]
    (others,) = section.others
    assert others == (
        "5 info: Down36 (fired 3 times), Down38 (fired 3 times), Down40 (fired 3 times), "
        "Down42 (fired 3 times), Down44 (fired 3 times)"
    )


def test_links_that_are_too_long_are_named() -> None:
    notes = {"runbook_url": "https://runbooks.example/" + "x" * 5_000, "summary": "s"}
    (entry,) = entries(firing=[line(notes=notes)])
    assert entry.note == "too long to show: Runbook"
    assert [name for name, _ in entry.links] == ["Source", "Silence"]


def test_the_complete_list_has_a_line_for_each_alert() -> None:
    lines = digest(
        firing=[*jobs(2, notes={"summary": "It failed"}), line("Worst", "critical", is_new=True)],
        flapping=[line("Down", fired=35, instance="n1", ended=True)],
        held=[line(note="held until Mon 09:00")],
    )["lines"]
    assert len(lines) == 5
    assert list(lines) == [
        "Still firing: 3",
        "[critical] Worst · new · since 22:00 · 1 h",
        "[info] KubeJobFailed · since 22:00 · 1 h · job_name=nightly-0, namespace=team-0 · It failed",
        "[info] KubeJobFailed · since 22:00 · 1 h · job_name=nightly-1, namespace=team-1 · It failed",
        "Flapping: 1",
        "[info] Down · since 22:00 · 59 min · fired 35 times · instance=n1",
        "Held: 1",
        "[info] Cert · since 22:00 · 1 h · held until Mon 09:00",
    ]
