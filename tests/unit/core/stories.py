"""Histories: alerts fire and end, deliveries begin and end in various ways, the router dies, rules change, time passes."""

from typing import Any

from hypothesis import strategies as st

from router.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Broken,
    Delivered,
    Destination,
    Millis,
    Outcome,
    Rejected,
    Retry,
    Status,
)
from router.store import ClaimedDelivery
from tests.unit.core.world import ALL, MONDAY, NOON, RULES, World, alert, without_ends

ALERTS = st.tuples(st.sampled_from("AB"), st.sampled_from(["critical", "warning", "info"]))
WITHOUT_ENDS = st.frozensets(st.sampled_from([each.key for each in ALL if not each.digest]))
"""The destinations with ``send_resolved: false``."""
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("post"), st.lists(ALERTS, min_size=1, max_size=3, unique=True), st.sampled_from("gh")
        ),
        st.tuples(
            st.just("end"), st.lists(ALERTS, min_size=1, max_size=3, unique=True), st.sampled_from("gh")
        ),
        st.tuples(st.just("wait"), st.sampled_from([2 * SECOND, 10 * SECOND, HOUR, 8 * HOUR]), st.none()),
        st.tuples(st.just("begin"), st.sampled_from(range(len(ALL))), st.none()),
        st.tuples(
            st.just("finish"),
            st.sampled_from(range(len(ALL))),
            st.sampled_from(
                [
                    "delivered",
                    "failed",
                    "lost answer",
                    "lost request",
                    "crash before",
                    "crash after",
                    "broken",
                    "given up",
                    "given up in doubt",
                    "taken back",
                ]
            ),
        ),
        st.tuples(st.just("retry"), st.none(), st.none()),
        st.tuples(st.just("reload"), st.sampled_from(range(3)), WITHOUT_ENDS),
    ),
    max_size=40,
)


class History:
    """Plays steps on a world, and remembers which alerts fire."""

    def __init__(self, world: World, *, checked: bool = True) -> None:
        """:param checked: the invariants are checked after each step"""
        self.world = world
        self._checked = checked
        self.firing: set[str] = set()
        self._starts: dict[str, Millis] = {}
        self._under_way: dict[str, ClaimedDelivery] = {}

    def post(
        self, names: list[tuple[str, str]], group: str, status: Status, peer: str = "http://am-1"
    ) -> None:
        alerts = []
        for name, level in names:
            key = f"{name}-{level}"
            if status is Status.FIRING and key not in self.firing:
                self._starts[key] = self.world.now
            (self.firing.add if status is Status.FIRING else self.firing.discard)(key)
            alerts.append(alert(name, level, status, self._starts.get(key, MONDAY)))
        self.world.post(*alerts, group=group, peer=peer)

    def begin(self, destination: Destination) -> None:
        if destination.key not in self._under_way:
            work = self.world.begin(destination)
            if isinstance(work, ClaimedDelivery):
                self._under_way[destination.key] = work

    def die(self) -> None:
        """The router is killed and started: no attempt under way is recorded."""
        self._under_way.clear()
        self.world.restart()

    def finish(self, destination: Destination, how: str) -> None:
        work = self._under_way.pop(destination.key, None)
        if work is None:
            return
        if how in {
            "crash before",
            "crash after",
        }:  # before or after the provider received it; no outcome is recorded
            if how == "crash after":
                self.world.providers[destination.key].receive(work)
            self.die()
            return
        if how == "taken back":  # the router stops before anything is sent
            self.world.take_back(work)
            return
        outcomes: dict[str, Outcome] = {
            "delivered": Delivered(),
            "failed": Retry("http 503"),
            "lost answer": Retry("timeout", ambiguous=True),
            "lost request": Retry("timeout", ambiguous=True),
            "broken": Broken("channel_not_found"),
            "given up": Rejected("given up after 1d: http 503"),
            "given up in doubt": Rejected("given up after 1d: timeout", ambiguous=True),
        }
        self.world.finish(work, outcomes[how], arrived=how in {"lost answer", "given up in doubt"})

    def play(self, kind: str, what: Any, detail: Any) -> None:
        match kind:
            case "post":
                self.post(what, detail, Status.FIRING)
            case "end":
                self.post(what, detail, Status.RESOLVED)
            case "wait":
                self.world.now += what
            case "begin":
                self.begin(ALL[what])
            case "finish":
                self.finish(ALL[what], detail)
            case "retry":
                self.world.retry_the_dead()
            case "reload":
                self.world.reload(without_ends(RULES[what], detail or ()))
        if self._checked:
            self.world.assert_balanced()

    def settle(self) -> None:
        """Providers are well, and time passes: beyond an opening, the inhibit wait, and a digest's slot."""
        while self._under_way:
            _, work = self._under_way.popitem()
            self.world.finish(work, Delivered())
        for _ in range(3):
            self.world.now += 24 * HOUR - (self.world.now - NOON) % DAY
            self.world.deliver()
            self.world.now += MINUTE
            self.world.deliver()
        self.world.assert_balanced()
