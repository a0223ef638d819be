"""Labels as people type them into the page."""

import pytest

from router.rules.inputs import parse_label_text
from router.rules.moments import InputError


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", {}),
        (" \n\r\n", {}),
        ('severity="critical", team="db"', {"severity": "critical", "team": "db"}),
        ("severity=critical\r\nteam=db", {"severity": "critical", "team": "db"}),
        ('{severity="critical"}', {"severity": "critical"}),
        ('note="a, b\\nc"', {"note": "a, b\nc"}),
        ("a=b\na=c", {"a": "c"}),
        ('a=""', {"a": ""}),
    ],
)
def test_labels_are_read_from_a_text(text: str, labels: dict[str, str]) -> None:
    assert parse_label_text(text) == labels


@pytest.mark.parametrize("text", ["severity", 'a="b", c!="d"', "a=~b", "=", 'a="b'])
def test_a_text_with_something_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a label"):
        parse_label_text(text)
