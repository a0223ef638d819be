"""Texts and tables for terminals: they fit, and no text from outside controls the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cli.terminal import Column, TextTable, clipped, painted, printable, width, wrapped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("\x9b31m", "�31m"),
        ("a\r\nb\tc\x00", "a b c�"),
        ("\u202egnp", "gnp"),
        ("a\u2028b", "a b"),
        ("e\u0301" + "\u0301" * 50, "e\u0301\u0301"),
        ("\ud800", "�"),
        (7, "7"),
    ],
)
def test_texts_are_one_line_without_controls(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_any_text_is_printable_and_fits(text: str) -> None:
    shown = printable(text)
    assert all(each.isprintable() for each in shown)
    assert width(clipped(shown, 7)) <= 7
    assert all(width(each) <= 7 for each in wrapped(shown, 7))
    assert "".join(wrapped(shown, 7)).replace(" ", "") == shown.replace(" ", "")


def test_wide_characters_take_two_columns() -> None:
    assert width("界🙂e\u0301") == 5
    assert clipped("界界界", 5) == "界界…"
    assert wrapped("界界界 ab", 5) == ["界界", "界 ab"]


def lines(columns: int | None, *rows: tuple[object, ...], colors: bool = False) -> list[str]:
    titles = (
        Column("No.", is_number=True),
        Column("State", is_styled=True),
        Column("Words", is_flexible=True),
    )
    return list(TextTable(titles, columns, colors=colors).lines(rows))


def test_a_table_wraps_its_flexible_columns() -> None:
    words = "one two three four five six seven"
    assert lines(None, (7, "held", words)) == ["No.  State  Words", f"  7  held   {words}"]
    assert lines(34, (7, "held", words)) == [
        "No.  State  Words",
        "  7  held   one two three four",
        "            five six seven",
    ]


def test_a_narrow_terminal_gets_a_line_for_each_cell() -> None:
    assert lines(20, (7, "held", "one two three four five")) == [
        "No.: 7", "State: held", "Words:", "  one two three four", "  five", "",
    ]  # fmt: skip


def test_colors_change_no_layout() -> None:
    plain, colored = (
        lines(40, (7, "held", "x"), (12, "delivered", "y"), colors=each) for each in (False, True)
    )
    assert "\x1b[33mheld\x1b[0m" in colored[1]
    stripped = [line.replace("\x1b[33m", "").replace("\x1b[32m", "").replace("\x1b[1m", "").replace("\x1b[0m", "") for line in colored]  # fmt: skip
    assert [line.rstrip() for line in stripped] == plain
    assert painted("x", "bad", colors=False) == "x"


@given(
    st.lists(st.tuples(st.integers(), st.text(max_size=12), st.text(max_size=200)), min_size=1),
    st.integers(20, 200),
)
def test_no_line_of_a_table_is_wider_than_the_terminal(
    rows: list[tuple[int, str, str]], columns: int
) -> None:
    found = lines(columns, *rows)
    longest = max(len(str(number)) + 10 for number, _, _ in rows)
    assert all(width(line) <= max(columns, longest) for line in found)
