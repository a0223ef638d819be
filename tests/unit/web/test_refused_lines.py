"""A user whose role does not suffice can't fill the log of actions."""

from router.web.access.refused_lines import LINES_SPAN, MAX_LINES, RefusedLines


def test_one_user_writes_few_lines_in_a_span() -> None:
    lines = RefusedLines()
    assert sum(lines.may_write("vera", "token", 1_000) for _ in range(10 * MAX_LINES)) == MAX_LINES
    assert lines.may_write("otto", "token", 1_000)
    assert lines.may_write("vera", "proxy", 1_000)
    assert not lines.may_write("vera", "token", 1_000 + LINES_SPAN - 1)
    assert lines.may_write("vera", "token", 1_000 + LINES_SPAN)
