"""PagerDuty shows what fires, in any order of triggers, resolves, retries and restarts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels.pagerduty import PagerDutyChannel, PagerDutyOptions, PagerDutySettings
from router.core.conversations import latest, token_of
from router.decide import Policy, Route
from router.model import SECOND, Delivered, Destination, Millis, Outcome, Retry, Status
from router.store import ClaimedDelivery, Idle
from tests.examples import examples
from tests.unit.channels.talk import TEMPLATES
from tests.unit.core.world import NOON, POLICY, World, alert
from tests.world.fake_pagerduty import KEY, problems

_OPTIONS = PagerDutyOptions.model_validate({"routing_key": KEY})
PER_GROUP = Destination("pagerduty:group", "pagerduty", _OPTIONS)
PER_ALERT = Destination("pagerduty:alert", "pagerduty", _OPTIONS, per_alert=True)
CHANNEL = PagerDutyChannel(PagerDutySettings())

# How an attempt ends: whether PagerDuty takes the event, and what comes back (None: the router is killed first).
ENDS: Mapping[str, tuple[bool, Outcome | None]] = {
    "is answered": (True, Delivered({})),
    "is asked to slow down": (False, Retry("http 429", pause=True)),
    "fails": (False, Retry("http 503", ambiguous=True)),
    "loses its answer": (True, Retry("timeout", ambiguous=True)),
    "dies unheard": (False, None),
    "dies after it arrived": (True, None),
}


@dataclass(frozen=True)
class State:
    """Which alerts fire, and what PagerDuty shows. It is immutable, so a search can return to it."""

    now: Millis = NOON
    firing: Mapping[str, Millis] = field(default_factory=dict)
    """By name: since when the alert fires."""
    incidents: frozenset[str] = frozenset()
    """The dedup keys of the open incidents."""
    work: ClaimedDelivery | None = None
    """The attempt under way."""
    steps: tuple[str, ...] = ()
    """The steps that led to this state."""


class Story:
    """The store's transactions for one destination, run step by step."""

    def __init__(self, world: World, destination: Destination) -> None:
        self.world = world
        self.destination = destination

    def steps(self, state: State, names: str) -> Iterator[str]:
        """The possible next steps: an alert changes or is repeated; an attempt begins, or ends in some way."""
        for name in names:
            yield f"{name} fires"
            if name in state.firing:
                yield f"{name} ends"
        yield from ["begin"] if state.work is None else ENDS

    def play(self, state: State, step: str) -> State:
        state = replace(state, now=state.now + SECOND, steps=(*state.steps, step))
        self.world.now = state.now
        if step == "begin":
            work = self.world.begin(self.destination)
            return state if isinstance(work, Idle) else replace(state, work=work)
        if step in ENDS:
            return self._end(state, *ENDS[step])
        name, what = step.split()
        since = state.firing.get(name, state.now)
        self.world.post(alert(name, "critical", Status.FIRING if what == "fires" else Status.RESOLVED, since))
        others = {key: at for key, at in state.firing.items() if key != name}
        return replace(state, firing=others | ({name: since} if what == "fires" else {}))

    def _end(self, state: State, arrived: bool, outcome: Outcome | None) -> State:
        work = state.work
        assert work is not None
        if arrived:
            state = replace(state, incidents=self._received(work, state.incidents))
        if outcome is None:
            self.world.restart()
        else:
            self.world.finish(work, outcome)
        return replace(state, work=None)

    def _received(self, work: ClaimedDelivery, incidents: frozenset[str]) -> frozenset[str]:
        """Return the open incidents after the event that the channel would send."""
        body = CHANNEL.render(self.destination, work.conversation, TEMPLATES).body
        assert not problems({"routing_key": KEY, **body}, 0, {KEY})
        key = frozenset({body["dedup_key"]})
        return incidents | key if body["event_action"] == "trigger" else incidents - key

    def settle(self, state: State) -> None:
        """The router is killed and started, and PagerDuty works: it shows what fires, and the ledger balances."""
        if state.work is not None:
            state = self.play(state, "dies unheard")
        for _ in range(10):
            state = self.play(state, "begin")
            if state.work is None:
                break
            state = self.play(state, "is answered")
        assert state.work is None, f"it never comes to rest: {state.steps}"
        assert state.incidents == self._expected(state), state.steps
        assert set(self.world.fates(self.destination)) <= {"delivered", "obsolete"}, state.steps
        self.world.assert_balanced()

    def _expected(self, state: State) -> frozenset[str]:
        subjects = {
            f"alert:{alert(name, 'critical').identity}" if self.destination.per_alert else "group:hook:g"
            for name in state.firing
        }
        tokens = (token_of(self.destination.key, "default", subject) for subject in subjects)
        found = (latest(self.world.state, token) for token in tokens)
        return frozenset(row.key for row in found if row is not None)


def _policy(destination: Destination) -> Policy:
    return replace(POLICY, receivers={"oncall": (destination,)}, root=Route("route", "oncall"), schedules={})


_destinations = pytest.mark.parametrize("destination", [PER_GROUP, PER_ALERT], ids=["per group", "per alert"])


@_destinations
def test_all_interleavings_of_seven_steps_end_in_the_right_state(destination: Destination) -> None:
    """Search through all interleavings for one alert; the rows are restored after each."""
    world = World(policy=_policy(destination))
    story, rows = Story(world, destination), world.state

    @contextmanager
    def undone() -> Iterator[None]:
        accepted, mark = world.accepted, rows.mark()
        yield
        rows.undo(mark)
        world.accepted = accepted

    def search(state: State) -> int:
        with undone():
            story.settle(state)
        found = 1
        for step in story.steps(state, "A") if len(state.steps) < 7 else ():
            with undone():
                after = story.play(state, step)
                if step != "begin" or after.work is not None:  # without a claim, the state is the same
                    found += search(after)
        return found

    assert search(State()) > 3_000


@_destinations
@given(choices=st.lists(st.integers(0, 999), max_size=60))
@examples(40)
def test_long_stories_of_two_alerts_end_in_the_right_state(
    destination: Destination, choices: list[int]
) -> None:
    story, state = Story(World(policy=_policy(destination)), destination), State()
    for choice in choices:
        steps = list(story.steps(state, "AB"))
        state = story.play(state, steps[choice % len(steps)])
    story.settle(state)
