"""Many sets of matchers asked at once agree with each of them asked alone."""

from hypothesis import given
from hypothesis import strategies as st

from router.decide.index import MatcherIndex
from router.decide.matchers import Matcher
from tests.examples import examples

NAMES = ["a", "b", "c", "d"]
_exact = st.builds(
    Matcher, st.sampled_from(NAMES), st.sampled_from(["=", "!="]), st.sampled_from(["", "x", "y"])
)
_patterns = st.builds(
    Matcher, st.sampled_from(NAMES), st.sampled_from(["=~", "!~"]), st.sampled_from(["", ".*", ".+", "x|y", "[^x]"])
)  # fmt: skip
_sets = st.lists(st.lists(_exact | _patterns, max_size=4).map(tuple), max_size=12)
_labels = st.dictionaries(st.sampled_from([*NAMES, "e"]), st.sampled_from(["", "x", "y", "z"]))


@given(_sets, st.lists(_labels, min_size=1, max_size=6))
@examples(120)
def test_the_index_finds_what_matching_one_by_one_finds(
    sets: list[tuple[Matcher, ...]], alerts: list[dict[str, str]]
) -> None:
    index = MatcherIndex(sets)
    for labels in [*alerts, *alerts]:  # the second time from memory
        assert list(index.holding(labels)) == [
            number for number, matchers in enumerate(sets) if all(each.matches(labels) for each in matchers)
        ]


def test_a_pattern_that_backtracking_engines_choke_on_is_matched() -> None:
    """In Python's own re this would take longer than the universe has."""
    pattern = Matcher("path", "=~", "(a+)+$|(a|aa)+$|(.*a){25}")
    assert not pattern.matches({"path": "a" * 20_000 + "!"})


def test_remembered_values_are_bounded() -> None:
    index = MatcherIndex([(Matcher("instance", "=~", "db-.*"),), (Matcher("instance", "=", "web"),)])
    for number in range(20_000):
        assert list(index.holding({"instance": f"db-{number}"})) == [0]
    assert all(len(label._matched) <= 8_192 for label in index._labels.values())
