"""The file of an incident: Markdown that shows every text literally."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import HOUR, MINUTE
from router.render.incident_file import (
    IncidentAlert,
    IncidentEntry,
    IncidentReport,
    NotifiedDestination,
    file_name,
    incident_markdown,
    markdown,
)

BERLIN = ZoneInfo("Europe/Berlin")
AT = 1_795_395_660_000  # Mon 23 Nov 2026 02:01 in Berlin
BOLD = st.text(min_size=1, max_size=40)


def report(text: str = "Down on db1", **changes: object) -> IncidentReport:
    values: dict[str, object] = {
        "name": text, "owner": text, "since": AT, "until": AT + HOUR, "filter": text,
        "alerts": (IncidentAlert(text, text, "resolved", AT, AT + HOUR, text, "https://run.book/a"),),
        "alerts_left_out": 0, "entries": (IncidentEntry(AT, "alert", text, (text,), (text,), text),),
        "entries_left_out": 0, "destinations": (NotifiedDestination(text, AT + MINUTE, 1, 0),), "began_at": AT,
        "reported_at": AT, "notified_at": AT + MINUTE, "resolved_at": AT + HOUR,
    }  # fmt: skip
    return IncidentReport(**(values | changes))  # type: ignore[arg-type]


@given(BOLD)
def test_no_text_breaks_a_table_or_becomes_markup(text: str) -> None:
    made = incident_markdown(report(text), BERLIN, AT, "1.0")
    plain = incident_markdown(report(), BERLIN, AT, "1.0")
    assert made.count("\n") == plain.count("\n")
    for line in made.splitlines():
        bare = line.replace("\\\\", "").replace("\\|", "")
        if line.startswith("|"):
            assert bare.count("|") in {3, 4, 6}


@pytest.mark.parametrize("text", ["<script>", "a|b", "[x](y)", "**b**", "`c`", "# h", "_x_", "a\nb"])
def test_markup_is_escaped(text: str) -> None:
    shown = markdown(text)
    assert shown != text
    assert "\n" not in shown
    assert shown.replace("\\", "") == " ".join(text.split())


def test_the_file_has_the_day_on_which_it_began_as_its_name() -> None:
    assert file_name(report(), BERLIN) == "2026-11-23.md"
    assert file_name(report(began_at=AT - 3 * HOUR), BERLIN) == "2026-11-22.md"
    assert file_name(report(began_at=None), ZoneInfo("UTC")) == "2026-11-23.md"


def test_an_incident_without_notification_says_so() -> None:
    made = incident_markdown(report(destinations=(), notified_at=None, resolved_at=None), BERLIN, AT, "1.0")
    assert "nobody was notified" in made
    assert "Nobody was notified." in made
    assert "Time to notify" not in made
