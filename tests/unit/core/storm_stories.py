"""Histories of storms: alerts fire and end, messages are sent in various ways, the router dies, time passes."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from router.core.rows import OF_STORM, OPEN
from router.model import DAY, HOUR, SECOND, Delivered, Outcome, Rejected, Retry, Status
from router.store import ClaimedDelivery, Limits
from tests.unit.core.world import MONDAY, POLICY, TEAM, Played, World, alert, without_ends

NAMES = st.lists(st.sampled_from("ABCDEFGH"), min_size=1, unique=True)
OUTCOMES: dict[str, Outcome] = {
    "delivered": Delivered({"ts": "1"}),
    "failed": Retry("http 503"),
    "arrived": Retry("timeout", ambiguous=True, remote={"doubt": 1}),
    "lost": Retry("timeout", ambiguous=True),
    "refused": Rejected("http 400"),
}
STORM_STEPS = st.lists(
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
# Critical alerts go there, too.
RULES = replace(
    POLICY, receivers={**POLICY.receivers, "oncall": (TEAM,)}, inhibition=replace(POLICY.inhibition, rules=())
)


class StormHistory:
    """Plays steps at one destination; each alert has its own group."""

    def __init__(self, limits: Limits, database: Played | None = None, *, send_resolved: bool = True) -> None:
        rules = RULES if send_resolved else without_ends(RULES, [TEAM.key])
        self.world = World(policy=rules, database=database)
        self._sends_ends = send_resolved
        self.limits = limits
        self.firing: set[str] = set()
        self.met: Counter[str] = Counter()
        self._under_way: ClaimedDelivery | None = None

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
            if isinstance(found, ClaimedDelivery):
                self._under_way = found
                self._look_at(found)
        return self._under_way is not None

    def _look_at(self, work: ClaimedDelivery) -> None:
        storm = work.conversation.storm
        if storm is not None:
            self.met += Counter(
                storms=1, over=storm.over, more=storm.more, resolved=bool(storm.news.resolved)
            )  # fmt: skip
            assert work.parts or (self._sends_ends and (storm.over or self.limits.edits)), "it says nothing"
            assert storm.over <= (storm.groups == 0)
            return
        row = self.world.state.conversations[work.id]
        standing = {
            row.id for row in self.world.state.conversations if (row.kind, row.state) == (OF_STORM, OPEN)
        }
        only_ends = all(each.status == Status.RESOLVED for each in work.notices)
        assert not (only_ends and row.storm_id in standing and not row.own_message), (
            "an end without a beginning"
        )

    def finish(self, how: str) -> None:
        work, self._under_way = self._under_way, None
        if work is not None:
            arrived = how == "arrived"
            self.world.finish(
                work, OUTCOMES[how], arrived=arrived, not_before=self.world.now + self.limits.every
            )

    def settle(self) -> None:
        """The provider is well, it is noon, no firing is in doubt, and everything is sent."""
        self.world.now += DAY + 12 * HOUR - (self.world.now - MONDAY) % DAY
        self.world.settle_doubts()
        for _ in range(100):
            self.world.now += 10 * SECOND
            if not self.begin():
                return
            self.finish("delivered")
            self.world.assert_balanced()
        raise AssertionError("it never comes to rest")
