"""Messages are paired with attempts."""

from collections import Counter

import pytest

from router.model import Millis
from tests.acceptance.attempts import Attempt, paired, without_an_answer


@pytest.mark.parametrize(
    ("moments", "spans", "wanted"),
    [
        ([3], [(1, 5, "delivered")], ["delivered"]),
        ([3, 8], [(1, 9, "retry"), (2, 5, "delivered")], ["delivered", "retry"]),
        ([3, 8], [(1, 5, "delivered"), (2, 9, "delivered")], ["delivered", "delivered"]),
        ([3, 4], [(1, 5, "retry"), (2, 9, "retry"), (2, 9, "delivered")], ["retry", "delivered"]),
        ([3, 4], [(1, 5, "delivered")], ["delivered", None]),
        ([6], [(1, 5, "delivered")], [None]),
    ],
)
def test_messages_are_paired_with_attempts_that_overlap(
    moments: list[Millis], spans: list[tuple[Millis, Millis, str]], wanted: list[str | None]
) -> None:
    found = paired(moments, [Attempt(*span, "") for span in spans])
    assert Counter(each and each.outcome for each in found) == Counter(wanted)


def test_attempts_without_an_answer_are_counted_by_destination() -> None:
    several = [
        Attempt(1, 5, "delivered", ""),
        Attempt(2, 9, "interrupted", ""),
        Attempt(3, 9, "retry", "timeout"),
        Attempt(4, 9, "retry", "rate limited"),
    ]
    assert without_an_answer({"email:a": several, "email:b": several[:1]}) == {"email:a": 2}
