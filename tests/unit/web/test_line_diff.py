"""The diff of two texts: right, and bounded for the texts for which difflib takes minutes."""

from hypothesis import given
from hypothesis import strategies as st

from router.web import line_diff
from router.web.line_diff import diff_lines
from tests.examples import examples


def applied(before: str, lines: tuple[str, ...]) -> list[str]:
    """Return the former text with a diff applied to it."""
    old, at, out = before.splitlines(), 0, []
    for line in lines:
        if line.startswith("@@"):
            begin = int(line.split()[1].split(",")[0][1:]) - 1
            out += old[at:begin]
            at = begin
        elif line.startswith("+"):
            out.append(line[1:])
        else:
            assert old[at] == line[1:]
            at += 1
            out += [line[1:]] if line.startswith(" ") else []
    return out + old[at:]


def test_a_diff_has_the_changed_lines_and_some_around_them() -> None:
    before = "\n".join("abcdefghijklmnopqrstuvwxyz")
    after = before.replace("c\n", "").replace("x", "X\nY")
    assert diff_lines(before, after).lines == (
        "@@ -1,6 +1,5 @@", " a", " b", "-c", " d", " e", " f",
        "@@ -21,6 +20,7 @@", " u", " v", " w", "-x", "+X", "+Y", " y", " z",
    )  # fmt: skip
    found = diff_lines(before, after)
    assert (found.added, found.removed, found.is_cut) == (2, 2, False)


def test_equal_texts_have_no_diff() -> None:
    assert diff_lines("a\nb", "a\nb").lines == ()
    assert diff_lines("", "").lines == ()
    assert diff_lines("", "a").lines == ("@@ -1,0 +1,1 @@", "+a")


_TEXTS = st.lists(st.sampled_from(["a", "b", "c", "", "  d", "e"]), max_size=40).map("\n".join)


@given(_TEXTS, _TEXTS)
@examples(200)
def test_a_diff_makes_the_new_text_of_the_former_one(before: str, after: str) -> None:
    found = diff_lines(before, after)
    assert applied(before, found.lines) == after.splitlines()
    assert len(after.splitlines()) - len(before.splitlines()) == found.added - found.removed


def test_texts_that_are_slow_to_compare_count_as_replaced() -> None:
    """For difflib: lines x lines x lines."""
    before, after = "a\nb\n" * 8_000, "b\nb\na\n" * 6_000
    found = diff_lines(before, after)
    assert found.is_cut
    assert len(found.lines) == line_diff.MAX_SHOWN_LINES


def test_a_long_text_is_compared_up_to_a_bound() -> None:
    before = "\n".join(map(str, range(30_000)))
    found = diff_lines(before, before.replace("\n29999", "\nx"))
    assert (found.lines, found.is_cut) == ((), True)
    (hunk, *_) = diff_lines(before, before.replace("\n7\n", "\nx\n")).lines
    assert hunk == "@@ -5,7 +5,7 @@"
    (line,) = [each for each in diff_lines("", "x" * 100_000).lines if each.startswith("+")]
    assert len(line) < 600
