"""Notices of replicas are read as they were written, and any other text counts as one about everything."""

import json

import pytest

from router.store.notices import ReplicaNotice, ReplicaTopic

ALL = ReplicaNotice("", None, frozenset(ReplicaTopic))


@pytest.mark.parametrize(
    "notice",
    [
        ReplicaNotice("s"),
        ReplicaNotice("s", None, frozenset({ReplicaTopic.RULES})),
        ReplicaNotice("s", frozenset({"slack:C1", "email:é"}), frozenset({"lanes", "tests"})),
    ],
)
def test_a_notice_is_read_as_it_was_written(notice: ReplicaNotice) -> None:
    assert ReplicaNotice.read(str(notice)) == notice


def test_a_notice_that_would_be_too_long_is_about_all_lanes() -> None:
    long = ReplicaNotice("s", frozenset(f"email:{number}@example.com" for number in range(1000)))
    assert ReplicaNotice.read(str(long)).lanes is None


ODD = [
    "", "x", "null", "1", "{}", "[]", "[1, 2, 3]", '["s", "x", []]', '["s", null, "rules"]', '["s", [[]], []]',
    '["s", null, [{}]]', '["s", [], [], "later"]', '{"sender": "s"}', "[" * 100_000, "1" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=lambda text: text[:20])
def test_any_other_text_is_a_notice_about_everything(text: str) -> None:
    assert ReplicaNotice.read(text) == ALL
    assert json.loads(str(ALL))[1] is None
