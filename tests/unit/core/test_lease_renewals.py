"""Renewals of sessions: who gets which lease, and when a replica that does not answer loses its own."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.head import Grant, Head, LeaseLost
from router.core.leases import (
    BACKGROUND,
    EXPIRED,
    RELEASED,
    Beat,
    LeaseRow,
    Renewal,
    ReplicaRow,
    lanes_lease,
    renew,
)
from router.model import Millis

TERM: Millis = 10_000
SLACK, EMAIL = lanes_lease("slack"), lanes_lease("email")
WANTED = frozenset({BACKGROUND, SLACK, EMAIL})
V1, V2 = "rules 1", "rules 2"


def beat(session: str, rules: str = V1, dead: Collection[str] = (), wanted: Collection[str] = WANTED) -> Beat:
    return Beat(
        session, f"name of {session}", "1.0", "", rules, "", TERM, frozenset(wanted), frozenset(dead)
    )  # fmt: skip


class Cluster:
    """What the database has after some renewals."""

    def __init__(self, in_force: str = V1) -> None:
        self.in_force = in_force
        self.replicas: tuple[ReplicaRow, ...] = ()
        self.leases: tuple[LeaseRow, ...] = ()

    def renew(self, beat: Beat, now: Millis) -> Renewal:
        """Renew, and give up what is surplus."""
        renewal = renew(self.replicas, self.leases, beat, self.in_force, now)
        self.replicas = renewal.replicas
        self.leases = tuple(
            each._replace(replica=None, since=now, passed_on=RELEASED)
            if each.name in renewal.surplus
            else each
            for each in renewal.leases
        )
        return renewal

    def of(self, session: str) -> set[str]:
        return {each.name for each in self.leases if each.replica == session}

    def lease(self, name: str) -> LeaseRow:
        return next(each for each in self.leases if each.name == name)


def test_the_only_replica_takes_everything() -> None:
    cluster = Cluster()
    assert cluster.renew(beat("a"), 0).taken == WANTED
    assert {each.fence for each in cluster.leases} == {1}


def test_a_second_replica_gets_its_share_from_the_first() -> None:
    cluster = Cluster()
    for now in range(0, 5 * TERM, TERM // 4):
        cluster.renew(beat("a"), now)
        if now >= TERM:
            cluster.renew(beat("b"), now + 1)
    assert sorted(len(cluster.of(each)) for each in "ab") == [1, 2]
    assert cluster.of("a") | cluster.of("b") == WANTED


def test_a_replica_that_is_silent_for_its_term_loses_its_leases() -> None:
    cluster = Cluster()
    cluster.renew(beat("a"), 0)
    for now in range(1, TERM, TERM // 4):
        assert cluster.renew(beat("b"), now).expelled == ()
    assert cluster.of("a") == WANTED
    renewal = cluster.renew(beat("b"), TERM)
    assert [each.id for each in renewal.expelled] == ["a"]
    assert cluster.of("b") == WANTED
    assert (cluster.lease(SLACK).fence, cluster.lease(SLACK).passed_on) == (2, EXPIRED)


def test_who_was_cut_off_itself_expels_nobody_at_first() -> None:
    cluster = Cluster()
    cluster.renew(beat("a"), 0)
    cluster.renew(beat("b"), 1)
    back = 2 * TERM  # the database was away for both
    cluster.replicas = tuple(each._replace(expires_at=back - 1) for each in cluster.replicas)
    assert cluster.renew(beat("b"), back).expelled == ()
    assert cluster.renew(beat("a"), back + 1).expelled == ()
    assert EXPIRED not in {each.passed_on for each in cluster.leases}


def test_a_process_that_has_certainly_ended_is_not_waited_for() -> None:
    cluster = Cluster()
    cluster.renew(beat("a"), 0)
    assert [each.id for each in cluster.renew(beat("b", dead=["a"]), 1).expelled] == ["a"]
    assert cluster.of("b") == WANTED


def test_with_other_rules_a_replica_takes_nothing_and_gives_up_all() -> None:
    cluster = Cluster()
    cluster.renew(beat("a"), 0)
    cluster.in_force = V2
    assert cluster.renew(beat("b", V2), 1).taken == frozenset()
    assert cluster.renew(beat("a"), 2).surplus == WANTED
    assert cluster.renew(beat("b", V2), 3).taken == WANTED
    assert cluster.renew(beat("a"), 4).taken == frozenset()


def test_a_lease_that_the_rules_do_not_need_is_given_up() -> None:
    cluster = Cluster()
    cluster.renew(beat("a"), 0)
    assert cluster.renew(beat("a", wanted={BACKGROUND, SLACK}), 1).surplus == {EMAIL}


def test_a_claim_by_an_earlier_grant_is_refused() -> None:
    head = Head(leases={SLACK: 2})
    head.check_grant(Grant(SLACK, 2))
    head.check_grant(None)
    for lost in (Grant(SLACK, 1), Grant(EMAIL, 1)):
        with pytest.raises(LeaseLost):
            head.check_grant(lost)
    Head().check_grant(Grant(SLACK, 1))  # a database that no other process can share


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([V1, V2]), st.integers(1, TERM * 2)), max_size=30
    )
)
def test_a_fence_grows_with_each_grant_and_only_then(steps: list[tuple[str, str, Millis]]) -> None:
    cluster, now = Cluster(), 0
    for session, rules, passed in steps:
        now += passed
        before = {each.name: each for each in cluster.leases}
        renewal = cluster.renew(beat(session, rules), now)
        for each in renewal.leases:
            was = before.get(each.name)
            is_granted = each.name in renewal.taken
            assert each.fence == (was.fence if was else 0) + is_granted
            assert not is_granted or each.replica == session
            # Only from who is gone, or from nobody.
            assert (
                not is_granted
                or was is None
                or was.replica is None
                or was.replica in {gone.id for gone in renewal.expelled}
            )
        assert {each.replica for each in renewal.leases} <= {None, *(each.id for each in renewal.replicas)}
