"""Whatever happens in a storm: what counts as delivered was named, and ends are told where beginnings were."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.rows import OF_STORM, OPEN
from router.model import DAY, HOUR, SECOND, Delivered, Outcome, Rejected, Retry, Status
from router.store import Limits, Work
from tests.examples import examples
from tests.unit.core.world import MONDAY, POLICY, TEAM, Played, World, alert

NAMES = st.lists(st.sampled_from("ABCDEFGH"), min_size=1, unique=True)
OUTCOMES: dict[str, Outcome] = {
    "delivered": Delivered({"ts": "1"}),
    "failed": Retry("http 503"),
    "arrived": Retry("timeout", ambiguous=True, remote={"doubt": 1}),
    "lost": Retry("timeout", ambiguous=True),
    "refused": Rejected("http 400"),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fire"), NAMES),
        st.tuples(st.just("fire critically"), NAMES),
        st.tuples(st.just("end"), NAMES),
        st.tuples(st.just("begin"), st.none()),
        st.tuples(st.just("begin"), st.none()),
        *(st.tuples(st.just("finish"), st.just(how)) for how in ("delivered", "delivered", *OUTCOMES)),
        st.tuples(st.just("wait"), st.sampled_from([2 * SECOND, 10 * SECOND, HOUR])),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=40,
)  # fmt: skip
# Whatever is critical goes there, too.
RULES = replace(
    POLICY, receivers={**POLICY.receivers, "oncall": (TEAM,)}, inhibition=replace(POLICY.inhibition, rules=())
)


class Storm:
    """Plays steps at one destination; each alert has its own group."""

    def __init__(self, limits: Limits, database: Played | None = None) -> None:
        self.world = World(policy=RULES, database=database)
        self.limits = limits
        self.firing: set[str] = set()
        self.met: Counter[str] = Counter()
        self._under_way: Work | None = None

    def step(self, kind: str, what: Any) -> None:
        match kind:
            case "fire" | "fire critically":
                self._post(what, "warning" if kind == "fire" else "critical", Status.FIRING)
            case "end":
                for level in ("warning", "critical"):
                    known = [name for name in what if f"{name}-{level}" in self.firing]
                    self._post(known, level, Status.RESOLVED)
            case "begin":
                self.begin()
            case "finish":
                self.finish(what)
            case "wait":
                self.world.now += what
            case "restart":
                self._under_way = None
                self.world.restart()
        self.world.assert_balanced()

    def _post(self, names: list[str], level: str, status: Status) -> None:
        for name in names:
            one = alert(name, level, status, self.world.now if status is Status.FIRING else 0)
            (self.firing.add if status is Status.FIRING else self.firing.discard)(one.fingerprint)
            self.world.post(one, group=f"{name}-{level}")

    def begin(self) -> bool:
        if self._under_way is None:
            found = self.world.begin(TEAM, self.limits)
            if isinstance(found, Work):
                self._under_way = found
                self._look_at(found)
        return self._under_way is not None

    def _look_at(self, work: Work) -> None:
        storm = work.conversation.storm
        if storm is not None:
            self.met += Counter(
                storms=1, over=storm.over, more=storm.more, resolved=bool(storm.news.resolved)
            )  # fmt: skip
            assert work.parts or storm.over or self.limits.edits, "it tells nothing"
            assert storm.over <= (storm.groups == 0)
            return
        row = self.world.state.conversations[work.id]
        standing = {
            row.id for row in self.world.state.conversations if (row.kind, row.state) == (OF_STORM, OPEN)
        }
        only_ends = all(each.status == Status.RESOLVED for each in work.notice)
        assert not (only_ends and row.storm_id in standing and not row.own_message), (
            "an end without a beginning"
        )

    def finish(self, how: str) -> None:
        work, self._under_way = self._under_way, None
        if work is not None:
            heard = how == "arrived"
            self.world.finish(work, OUTCOMES[how], heard=heard, not_before=self.world.now + self.limits.every)

    def settle(self) -> None:
        """The provider is well, it is noon, no firing is in doubt, and everything is told."""
        self.world.now += DAY + 12 * HOUR - (self.world.now - MONDAY) % DAY
        self.world.settle_doubts()
        for _ in range(100):
            self.world.now += 10 * SECOND
            if not self.begin():
                return
            self.finish("delivered")
            self.world.assert_balanced()
        raise AssertionError("it never comes to rest")


@pytest.mark.parametrize("edits", [True, False])
@pytest.mark.parametrize("room", [10_000, 60])
def test_every_storm_ends_with_the_truth_and_balanced_books(*, edits: bool, room: int) -> None:
    met: Counter[str] = Counter()

    @given(STEPS)
    @examples(100)
    def play(steps: list[tuple[str, Any]]) -> None:
        storm = Storm(Limits(above=2, every=5 * SECOND, room=room, edits=edits))
        for step in steps:
            storm.step(*step)
        storm.settle()
        world = storm.world
        refused = ("finish", "refused") in steps
        assert refused or world.providers[TEAM.key].all_firing == storm.firing
        assert set(world.fates(TEAM)) <= {"delivered", "obsolete"} | ({"dead"} if refused else set())
        storm.step("end", list("ABCDEFGH"))
        storm.settle()
        assert refused or world.providers[TEAM.key].all_firing == set()
        assert refused or not [
            row for row in world.state.conversations if row.state == OPEN and row.slot is None
        ]
        nonlocal met
        met += storm.met

    play()
    assert met["storms"] > 20
    assert met["over"] > 4
    assert met["resolved"] > 4
    assert bool(met["more"]) == (room < 1_000)
