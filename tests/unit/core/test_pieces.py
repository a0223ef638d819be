"""A large webhook is kept whole and decided in pieces: the result is the same as of one decision."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.core.large_webhooks import in_order
from router.model import HOUR, MINUTE, Alert, Status, Webhook
from router.store import Idle
from tests.examples import examples
from tests.unit.core.memory import at_once
from tests.unit.core.world import ALL, MONDAY, NOON, PAGER, PER_ALERT, SLACK, TEAM, World, alert, webhook

FIRING, RESOLVED = Status.FIRING, Status.RESOLVED
_ALERTS = st.tuples(st.sampled_from("ABCDE"), st.sampled_from(["critical", "warning", "info"]))


def pieces(world: World, body: Webhook, size: int) -> list[Webhook]:
    alerts = in_order(body, world.policy)
    return [
        replace(body, alerts=tuple(alerts[first : first + size])) for first in range(0, len(alerts), size)
    ]


def keep(world: World, body: Webhook) -> int:
    return at_once(world.store.undecided.keep(body, "default", b"{}", world.now))


def decide(world: World, arrival: int, some: Webhook) -> None:
    world.counted(
        at_once(world.store.undecided.accept_some(arrival, some, "default", world.policy, world.now))
    )


def end(world: World, arrival: int, body: Webhook) -> None:
    at_once(world.store.undecided.finish(arrival, body, "default", world.policy, world.now))


def in_pieces(world: World, body: Webhook, size: int) -> None:
    arrival = keep(world, body)
    for some in pieces(world, body, size):
        decide(world, arrival, some)
    end(world, arrival, body)


def fates(world: World) -> Counter[tuple[str, str]]:
    return Counter((row.destination, row.fate) for row in world.state.fates)


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(_ALERTS, st.sampled_from([FIRING, RESOLVED])), max_size=8, unique_by=lambda each: each[0]),
            st.sampled_from("gh"),
            st.integers(1, 4),
            st.sampled_from([0, 1]),
            st.booleans(),
        ),
        max_size=6,
    )
)  # fmt: skip
@examples(60)
def test_pieces_end_as_one_decision_would(
    webhooks: list[tuple[list[tuple[tuple[str, str], Status]], str, int, int, bool]],
) -> None:
    whole, cut = World(), World()
    for reports, group, size, truncated, delivered in webhooks:
        for world in (whole, cut):
            world.now += 10 * MINUTE
        alerts = [alert(name, level, status, whole.now) for (name, level), status in reports]
        body = webhook(*alerts, group=group, truncated=truncated)
        # Both decide the alerts in the same order, so the ids and the order of messages are the same.
        whole.accept(replace(body, alerts=tuple(in_order(body, whole.policy))), "default")
        in_pieces(cut, body, size)
        for world in (whole, cut):
            world.assert_balanced()
            if delivered:
                world.deliver()
    for world in (whole, cut):
        world.now += 24 * HOUR
        world.deliver()
        world.assert_balanced()
    for destination in ALL:
        assert cut.providers[destination.key].all_firing == whole.providers[destination.key].all_firing
    assert fates(cut) == fates(whole)


def test_a_group_is_sent_after_the_last_piece() -> None:
    world = World()
    body = webhook(*(alert(name, "critical") for name in "ABC"))
    arrival = keep(world, body)
    for some in pieces(world, body, 1):
        decide(world, arrival, some)
        assert isinstance(world.begin(SLACK), Idle)
        assert isinstance(world.begin(PAGER), Idle)
    end(world, arrival, body)
    assert len(world.work_of(SLACK).conversation.alerts) == 3


def test_an_incident_of_a_single_alert_does_not_wait_for_its_group() -> None:
    world = World()
    body = webhook(*(alert(name, "critical") for name in "ABC"))
    decide(world, keep(world, body), pieces(world, body, 1)[0])
    assert len(world.work_of(PER_ALERT).conversation.alerts) == 1


def test_news_of_its_group_that_were_due_before_wait_as_well() -> None:
    world = World()
    world.post(alert("A", "critical"))
    body = webhook(*(alert(name, "critical") for name in "ABC"))
    arrival = keep(world, body)
    some, *others = pieces(world, body, 2)
    decide(world, arrival, some)
    assert isinstance(world.begin(SLACK), Idle)
    for each in others:
        decide(world, arrival, each)
    end(world, arrival, body)
    assert len(world.work_of(SLACK).conversation.alerts) == 3


def test_a_piece_that_runs_twice_counts_once() -> None:
    world = World()
    body = webhook(*(alert(name, "critical") for name in "ABC"))
    arrival = keep(world, body)
    for some in (*pieces(world, body, 2), *pieces(world, body, 1)):
        decide(world, arrival, some)
    end(world, arrival, body)
    world.assert_balanced()
    assert world.fates(SLACK) == ["pending"] * 3


def test_a_later_webhook_about_an_alert_counts() -> None:
    """The order of the decisions does not matter."""
    world = World()
    body = webhook(*(alert(name, "critical") for name in "AB"))
    arrival = keep(world, body)
    world.now += MINUTE
    world.post(alert("B", "critical", RESOLVED), group="h")
    for some in pieces(world, body, 1):
        decide(world, arrival, some)
    end(world, arrival, body)
    world.deliver()
    world.assert_balanced()
    for destination in (SLACK, PAGER, PER_ALERT):
        assert world.providers[destination.key].all_firing == {"A-critical"}


def test_a_later_firing_is_not_ended_by_an_earlier_webhook() -> None:
    world = World()
    world.post(alert("A", "critical"))
    world.deliver()
    world.now += HOUR
    arrival = keep(world, ended := webhook(alert("A", "critical", RESOLVED)))
    world.now += MINUTE
    world.post(alert("A", "critical", FIRING, world.now))
    decide(world, arrival, ended)
    end(world, arrival, ended)
    world.deliver()
    world.assert_balanced()
    assert world.providers[SLACK.key].all_firing == {"A-critical"}


def test_inhibitors_are_decided_first_and_their_ends_last() -> None:
    """So no alert is sent only because its inhibitor, or its own end, is in a later piece."""
    world = World()
    body = webhook(
        alert("A", "warning"), alert("B", "critical", RESOLVED), alert("B", "info", RESOLVED),
        alert("A", "critical"), alert("C", "info"),
    )  # fmt: skip
    names = [each.fingerprint for each in in_order(body, world.policy)]
    assert names == ["A-critical", "A-warning", "C-info", "B-info", "B-critical"]
    in_pieces(world, body, 1)
    world.now += HOUR
    world.deliver()
    assert world.fates(TEAM) == ["inhibited"]


def test_an_undecidable_webhook_holds_nothing_back() -> None:
    world = World(NOON)
    body = webhook(*(alert(name, "critical") for name in "AB"))
    arrival = keep(world, body)
    decide(world, arrival, pieces(world, body, 1)[0])
    at_once(world.store.undecided.give_up(arrival, "it raises"))
    assert len(world.work_of(SLACK).conversation.alerts) == 1
    assert world.state.webhooks[arrival].quarantined == "it raises"


def test_a_doubt_stays_a_doubt_in_pieces() -> None:
    """A firing that contradicts a recent end."""
    world = World()
    started: Alert = alert("A", "critical", FIRING, MONDAY)
    world.post(started)
    world.deliver()
    world.post(alert("A", "critical", RESOLVED, MONDAY))
    world.deliver()
    in_pieces(world, webhook(started, peer="http://am-2"), 1)
    world.deliver()
    world.assert_balanced()
    assert world.providers[SLACK.key].all_firing == set()
    world.now += 6 * MINUTE
    world.deliver()
    assert world.providers[SLACK.key].all_firing == {"A-critical"}
