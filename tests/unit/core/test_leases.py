"""Leases pass from one replica to another without ever having two holders, whatever the clock of the database does."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from router.core.leases import (
    BACKGROUND,
    EXPIRED,
    RELEASED,
    LeaseRow,
    Renewal,
    RenewalRequest,
    ReplicaRow,
    lanes_lease,
    renew,
)
from router.model import HOUR, SECOND, Millis

TERM: Millis = 10 * SECOND
NOON: Millis = 1_795_435_200_000
WANTED = frozenset({BACKGROUND, *map(lanes_lease, ("slack", "pagerduty", "email", "webhook"))})
NAMES = "abcd"
STEPS = st.integers(0, 2 * TERM)


@dataclass
class Believed:
    """What a replica that runs believes."""

    session: str
    rules: str = "new"
    leases: dict[str, int] = field(default_factory=dict)
    """The fences of the leases that it has learned of, by name."""
    trusted_until: Millis = 0
    """In real time."""


@dataclass
class Cluster:
    """The rows in the database, and the replicas that renew, stop and come back."""

    real: Millis = 0
    database: Millis = NOON
    replicas: tuple[ReplicaRow, ...] = ()
    leases: tuple[LeaseRow, ...] = ()
    running: dict[str, Believed] = field(default_factory=dict)
    granted: dict[str, int] = field(default_factory=dict)
    """The last fence of each lease."""
    starts: int = 0
    steps: bool = False
    """The clock of the database has been stepped, so what a replica trusts may be wrong."""

    def passes(self, by: Millis) -> None:
        self.real += by
        self.database += by

    def step(self, by: Millis) -> None:
        """Step the clock of the database."""
        self.database += by
        self.steps = True

    def renew(self, name: str, rules: str | None = None) -> Renewal | None:
        """Renew the session of a replica, or begin one, as the store and the membership do."""
        known = self.running.get(name)
        if known is None or all(each.id != known.session for each in self.replicas):
            self.starts += 1
            known = self.running[name] = Believed(
                f"{name}{self.starts}", "new" if known is None else known.rules
            )
        known.rules = rules or known.rules
        request = RenewalRequest(known.session, name, "1", "", known.rules, "", TERM, WANTED)
        before = {each.name: each for each in self.leases}
        result = renew(self.replicas, self.leases, request, "new", self.database)
        self.replicas, self.leases = result.replicas, result.leases
        for each in self.leases:
            self.check_grant(before.get(each.name), each)
        known.leases = {each.name: each.fence for each in self.leases if each.replica == known.session}
        known.trusted_until = self.real + TERM - TERM // 5
        assert result.taken <= known.leases.keys()
        return result

    def check_grant(self, before: LeaseRow | None, after: LeaseRow) -> None:
        was = None if before is None else before.replica
        if after.replica == was:
            return
        if after.replica is not None:
            assert after.fence > self.granted.get(after.name, 0)
            self.granted[after.name] = after.fence
            assert self.session(after.replica).rules == "new"
        if was is not None and not self.steps:
            for each in self.running.values():
                assert each.session != was or each.trusted_until <= self.real, (
                    "it passed on while it was trusted"
                )

    def session(self, id_: str) -> Believed:
        return next(each for each in self.running.values() if each.session == id_)

    def release(self, name: str, leases: frozenset[str]) -> None:
        """Release leases for which nothing is under way."""
        known = self.running[name]
        for each in leases:
            known.leases.pop(each, None)
        self.leases = tuple(
            each._replace(replica=None, passed_on=RELEASED) if each.replica == known.session and each.name in leases
            else each for each in self.leases
        )  # fmt: skip

    def leave(self, name: str) -> None:
        """End without a word, or with one: the rows stay, or go."""
        if name in self.running:
            self.release(name, frozenset(self.running[name].leases))
            gone = self.running.pop(name).session
            self.replicas = tuple(each for each in self.replicas if each.id != gone)

    def settle(self) -> None:
        """All that run renew at their interval until nothing changes."""
        for _ in range(60):
            for name in list(self.running):
                self.passes(TERM // 4 // len(self.running))
                renewal = self.renew(name)
                if renewal is not None:
                    self.release(name, renewal.surplus)

    def held_by(self, name: str) -> frozenset[str]:
        session = self.running[name].session
        return frozenset(each.name for each in self.leases if each.replica == session)


OPERATIONS = st.one_of(
    st.tuples(st.just("renew"), st.sampled_from(NAMES), st.sampled_from(["new", "old", None])),
    st.tuples(st.just("renew and release"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("end"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("time passes"), STEPS, st.none()),
    st.tuples(st.just("clock steps"), st.integers(-HOUR, HOUR), st.none()),
)


def play(operations: list[tuple[str, object, object]], *, with_steps: bool) -> Cluster:
    cluster = Cluster()
    for operation, subject, more in operations:
        match operation, subject:
            case "renew", str(name):
                cluster.renew(name, None if more is None else str(more))
            case "renew and release", str(name):
                renewal = cluster.renew(name)
                assert renewal is not None
                cluster.release(name, renewal.surplus)
            case "end", str(name) if more:
                cluster.leave(name)
            case "end", str(name):
                cluster.running.pop(name, None)
            case "time passes", int(by):
                cluster.passes(by)
            case "clock steps", int(by) if with_steps:
                cluster.step(by)
    return cluster


@given(st.lists(OPERATIONS, max_size=40))
def test_a_lease_passes_on_only_when_its_holder_does_not_trust_it(
    operations: list[tuple[str, object, object]],
) -> None:
    play(operations, with_steps=False)


@given(st.lists(OPERATIONS, max_size=40))
def test_in_the_end_everything_wanted_is_held_in_equal_shares(
    operations: list[tuple[str, object, object]],
) -> None:
    cluster = play(operations, with_steps=True)
    cluster.settle()
    agreeing = [name for name, each in cluster.running.items() if each.rules == "new"]
    for name in cluster.running.keys() - agreeing:
        assert not cluster.held_by(name)
    held = [len(cluster.held_by(name)) for name in agreeing]
    if held:
        assert sum(held) == len(WANTED)
        assert max(held) - min(held) <= 1


def test_an_expired_lease_says_so_and_a_released_one_too() -> None:
    cluster = Cluster()
    cluster.renew("a")
    cluster.passes(TERM // 2)
    cluster.renew("b")
    cluster.release("a", frozenset({BACKGROUND}))
    cluster.renew("b")
    assert [each.passed_on for each in cluster.leases if each.name == BACKGROUND] == [RELEASED]
    cluster.passes(TERM // 2)
    renewal = cluster.renew("b")
    assert renewal is not None
    assert [each.name for each in renewal.expelled] == ["a"]
    assert {each.passed_on for each in renewal.leases if each.name != BACKGROUND} == {EXPIRED}
    assert cluster.held_by("b") == WANTED


def test_a_replica_that_was_cut_off_itself_expels_nobody_at_once() -> None:
    cluster = Cluster()
    cluster.renew("a")
    cluster.renew("b")
    cluster.passes(3 * TERM)
    first, second = cluster.renew("a"), cluster.renew("a")
    assert first is not None
    assert not first.expelled
    assert second is not None
    assert [each.name for each in second.expelled] == ["b"]


def test_a_new_replica_waits_half_a_term_longer() -> None:
    cluster = Cluster()
    cluster.renew("a")
    cluster.running.pop("a")
    cluster.passes(TERM + TERM // 4)
    first = cluster.renew("b")
    assert first is not None
    assert not first.expelled
    cluster.passes(TERM // 4)
    second = cluster.renew("b")
    assert second is not None
    assert [each.name for each in second.expelled] == ["a"]


def test_a_process_that_has_certainly_ended_is_expelled_at_once() -> None:
    cluster = Cluster()
    cluster.renew("a")
    ended = cluster.running.pop("a").session
    request = RenewalRequest("b9", "b", "1", "", "new", "", TERM, WANTED, frozenset({ended}))
    result = renew(cluster.replicas, cluster.leases, request, "new", cluster.database)
    assert [each.name for each in result.expelled] == ["a"]
    assert result.taken == WANTED


def test_after_the_clock_went_back_a_dead_replica_still_expires() -> None:
    cluster = Cluster()
    cluster.renew("a")
    cluster.renew("b")
    cluster.running.pop("a")
    cluster.step(-HOUR)
    cluster.settle()
    assert cluster.held_by("b") == WANTED


def test_a_lease_that_nobody_needs_any_more_is_given_up() -> None:
    cluster = Cluster()
    cluster.renew("a")
    request = RenewalRequest(
        cluster.running["a"].session, "a", "1", "", "new", "", TERM, frozenset({BACKGROUND})
    )
    result = renew(cluster.replicas, cluster.leases, request, "new", cluster.database)
    assert result.surplus == WANTED - {BACKGROUND}
