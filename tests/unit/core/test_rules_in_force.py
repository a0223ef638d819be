"""Which rules are in force: who may replace them, and what is kept of them."""

import pytest

from router.core.rules_in_force import MAX_FORMER, Asking, Choice, SharedRules, choose

IN_FORCE = SharedRules("v2", "hash", 5, "start", "b", former=("v1", "v0"))
EXPLICIT, START, JOINING, UNSERVED = Asking
PUT, JOIN, WAIT = Choice


@pytest.mark.parametrize(
    ("mine", "asking", "choice"),
    [
        ("v2", START, JOIN),
        ("v2", JOINING, JOIN),
        ("v2", UNSERVED, JOIN),
        ("v2", EXPLICIT, PUT),
        ("v3", START, PUT),
        ("v3", JOINING, WAIT),
        ("v3", UNSERVED, PUT),
        ("v3", EXPLICIT, PUT),
        ("v1", START, WAIT),
        ("v0", START, WAIT),
        ("v1", JOINING, WAIT),
        ("v1", UNSERVED, PUT),
        ("v1", EXPLICIT, PUT),
    ],
)
def test_what_becomes_of_the_rules_of_a_replica(mine: str, asking: Asking, choice: Choice) -> None:
    assert choose(mine, IN_FORCE, asking, unserved="v2") is choice


@pytest.mark.parametrize("asking", Asking)
def test_first_rules_and_those_of_a_single_process_are_put_in_force(asking: Asking) -> None:
    assert choose("v1", None, asking) is PUT
    assert choose("v1", IN_FORCE, asking, is_alone=True) is PUT


def test_of_two_replicas_only_one_replaces_rules_that_nobody_serves() -> None:
    now = IN_FORCE.replaced_by(SharedRules("v1"))
    assert choose("v3", now, UNSERVED, unserved="v2") is WAIT


def test_rules_are_read_as_they_were_written() -> None:
    assert SharedRules.read("v2", str(IN_FORCE)) == IN_FORCE
    assert SharedRules.read(None, None) is None
    assert SharedRules.read("v2", None) == SharedRules("v2")


def test_a_version_without_replicas_may_have_put_others_in_force() -> None:
    assert SharedRules.read("v9", str(IN_FORCE)) == SharedRules("v9", former=("v1", "v0"))


def test_former_rules_are_kept_once_and_bounded() -> None:
    rules = SharedRules("0")
    for number in range(1, 3 * MAX_FORMER):
        rules = rules.replaced_by(SharedRules(str(number)))
    assert len(rules.former) == MAX_FORMER
    again = rules.replaced_by(SharedRules(rules.former[3]))
    assert again.fingerprint not in again.former
    assert again.former[0] == rules.fingerprint
