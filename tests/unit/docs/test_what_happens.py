"""docs/what-happens-when.md: each event names a test, and the test is there."""

import re

from tests.unit.docs.pages import ROOT, rows, text

PAGE = "docs/what-happens-when.md"
EVENTS = [row for row in rows(text(PAGE), "event") if len(row) == 3]


def test_every_event_names_a_test_that_there_is() -> None:
    assert len(EVENTS) > 45
    for event, _, where in EVENTS:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", where)
        assert named, event
        for path, test in named:
            assert (ROOT / path).exists(), path
            assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path} has no {test}"


def test_every_table_of_the_page_names_tests() -> None:
    assert len(rows(text(PAGE), "event")) == len(EVENTS)
    assert len({event for event, *_ in EVENTS}) == len(EVENTS)


def test_the_kinds_of_events_that_operators_ask_about_are_there() -> None:
    page = text(PAGE)
    words = [
        "killed", "down", "restarts", "clock is stepped", "mistake at a reload", "disk is full", "ends while it is held",
        "inhibitor ends", "storm_above", "two routers", "is lost", "heartbeat stops", "die together", "slot of a drill",
        "during a backup", "Sentry does not answer", "tenant is removed",
    ]  # fmt: skip
    assert [word for word in words if word not in page] == []
