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
    takes_leases: bool = True
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

    def renew(self, name: str, rules: str | None = None, *, takes_leases: bool = True) -> Renewal:
        """Renew the session of a replica, or begin one, as the store and the membership do.

        :param takes_leases: if not, it starts, or it stops: it wants no more leases than it holds
        """
        known = self.running.get(name)
        if known is None or all(each.id != known.session for each in self.replicas):
            self.starts += 1
            known = self.running[name] = Believed(
                f"{name}{self.starts}", "new" if known is None else known.rules
            )
        known.rules, known.takes_leases = rules or known.rules, takes_leases
        wanted = WANTED if takes_leases else WANTED & known.leases.keys()
        request = RenewalRequest(known.session, name, "1", "", known.rules, "", TERM, wanted, takes_leases)
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
            each._replace(replica=None, since=self.database, passed_on=RELEASED)
            if each.replica == known.session and each.name in leases else each
            for each in self.leases
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
            for name, each in list(self.running.items()):
                self.passes(TERM // 4 // len(self.running))
                self.release(name, self.renew(name, takes_leases=each.takes_leases).surplus)

    def held_by(self, name: str) -> frozenset[str]:
        session = self.running[name].session
        return frozenset(each.name for each in self.leases if each.replica == session)


OPERATIONS = st.one_of(
    st.tuples(st.just("renew"), st.sampled_from(NAMES), st.sampled_from(["new", "old", None])),
    st.tuples(st.just("renew and release"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("starts or stops"), st.sampled_from(NAMES), st.none()),
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
                cluster.release(name, cluster.renew(name).surplus)
            case "starts or stops", str(name):
                cluster.renew(name, takes_leases=False)
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
    for name, each in cluster.running.items():
        assert each.rules == "new" or not cluster.held_by(name)
    takers = [name for name, each in cluster.running.items() if each.rules == "new" and each.takes_leases]
    if takers:
        assert {each.name for each in cluster.leases if each.replica is not None} == WANTED
        held = [len(cluster.held_by(name)) for name in takers]
        assert max(held) - min(held) <= 1


STEP: Millis = TERM // 20
BOUND: Millis = TERM + TERM // 4
CHANGES = st.tuples(
    st.integers(0, 30),
    st.sampled_from(NAMES),
    st.sampled_from(["starts", "is ready", "stops", "leaves", "dies"]),
)


@dataclass
class Watched(Cluster):
    """A cluster whose replicas renew at their intervals, and for each lease the last time when a process that runs held it."""

    last_held: dict[str, Millis] = field(default_factory=dict)

    def goes_on(self, steps: int) -> None:
        for _ in range(steps):
            self.passes(STEP)
            for name, each in list(self.running.items()):
                if (self.real // STEP - NAMES.find(name)) % (TERM // 4 // STEP) == 0:
                    self.release(name, self.renew(name, takes_leases=each.takes_leases).surplus)
            sessions = {each.session for each in self.running.values()}
            for lease in self.leases:
                if lease.replica in sessions:
                    self.last_held[lease.name] = self.real
                assert self.real - self.last_held[lease.name] <= BOUND, lease

    def change(self, name: str, what: str) -> None:
        known = self.running.get(name)
        match what:
            case "starts" if known is None:
                self.renew(name, takes_leases=False)
            case "is ready" | "stops" if known is not None:
                known.takes_leases = what == "is ready"
            case "leaves":
                self.leave(name)
            case "dies":
                self.running.pop(name, None)


@given(st.lists(CHANGES, max_size=30))
def test_no_lease_is_free_longer_than_the_bound(changes: list[tuple[int, str, str]]) -> None:
    """As long as one replica is ready, whatever the others do: they start, stop, or die without a word."""
    cluster = Watched()
    cluster.renew("steady")
    cluster.last_held = dict.fromkeys(WANTED, cluster.real)
    for steps, name, what in changes:
        cluster.goes_on(steps)
        cluster.change(name, what)
    cluster.goes_on(60)


def test_a_replica_that_starts_or_stops_costs_others_no_lease() -> None:
    cluster = Cluster()
    cluster.renew("a")
    for _ in range(20):  # it crashes again and again
        cluster.renew("b", takes_leases=False)
        assert not cluster.renew("a").surplus
        cluster.running.pop("b")
        cluster.passes(TERM // 4)
    assert cluster.held_by("a") == WANTED


def test_a_lease_of_a_dead_replica_does_not_wait_for_another_dead_one() -> None:
    cluster = Cluster()
    for name in "abc":
        cluster.renew(name)
    cluster.settle()
    dead = cluster.held_by("a")
    cluster.running.pop("a")
    for _ in range(4):
        cluster.passes(TERM // 4 - 1)
        cluster.renew("b")
        cluster.renew("c")
    cluster.running.pop("c")
    cluster.passes(TERM // 4)
    cluster.renew("b")
    assert cluster.held_by("b") >= dead


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
    assert [each.name for each in renewal.expelled] == ["a"]
    assert {each.passed_on for each in renewal.leases if each.name != BACKGROUND} == {EXPIRED}
    assert cluster.held_by("b") == WANTED


def test_a_replica_that_was_cut_off_itself_expels_nobody_for_half_a_term() -> None:
    cluster = Cluster()
    cluster.renew("a")
    cluster.renew("b")
    cluster.passes(3 * TERM)
    assert not cluster.renew("a").expelled
    assert not cluster.renew("a").expelled
    cluster.passes(TERM // 2 - 1)
    assert not cluster.renew("a").expelled
    cluster.passes(1)
    assert [each.name for each in cluster.renew("a").expelled] == ["b"]


def test_a_new_replica_expels_nobody_for_half_a_term() -> None:
    """After an outage of the database, or a step of its clock, the sessions of all that run seem to have expired."""
    cluster = Cluster()
    cluster.renew("a")
    cluster.renew("b")
    cluster.step(HOUR)
    assert not cluster.renew("c").expelled
    assert not cluster.renew("c").expelled
    for name in "abc":
        cluster.passes(TERM // 12)
        assert not cluster.renew(name).expelled
    cluster.running.pop("a")
    for _ in range(4):
        cluster.passes(TERM // 4)
        expelled = [*cluster.renew("b").expelled, *cluster.renew("c").expelled]
    assert [each.name for each in expelled] == ["a"]


def test_a_process_that_has_certainly_ended_is_expelled_at_once() -> None:
    cluster = Cluster()
    cluster.renew("a")
    dead = cluster.running.pop("a").session
    request = RenewalRequest("b9", "b", "1", "", "new", "", TERM, WANTED, ended=frozenset({dead}))
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
