"""A destination with ``send_resolved: false`` gets no message for an end alone."""

from dataclasses import replace

import pytest

from router.core.unsent_ends import NOT_SENT, UNCONFIRMED
from router.decide import Policy
from router.model import HOUR, MINUTE, Delivered, Refusal, Rejected, Retry, Status
from router.store import Idle
from tests.unit.core.world import PAGER, POLICY, RULES, SLACK, TEAM, World, alert, without_ends

WITHOUT = without_ends(POLICY, [SLACK.key])


@pytest.fixture
def world(either_world: World) -> World:
    either_world.reload(WITHOUT)
    return either_world


def fire(world: World, *names: str) -> None:
    world.post(*(alert(each, "critical", starts_at=world.now) for each in names))


def end(world: World, *names: str, truncated: int = 0) -> None:
    ended = (alert(each, "critical", Status.RESOLVED, world.now) for each in names)
    world.post(*ended, truncated=truncated)
    world.assert_balanced()


def assert_over(world: World) -> None:
    """Nothing is due at Slack, no conversation there is open, and no fate there is open."""
    assert isinstance(world.begin(SLACK), Idle)
    assert {row.state for row in world.state.conversations if row.destination == SLACK.key} == {"closed"}
    assert set(world.fates(SLACK)) <= {"delivered", "dropped", "obsolete", "dead"}
    world.assert_balanced()


def reasons(world: World, fate: str) -> set[str]:
    found = (row for row in world.state.fates if row.destination == SLACK.key)
    return {row.reason for row in found if row.fate == fate}


def test_an_end_is_dropped_and_its_conversation_closes(world: World) -> None:
    fire(world, "A")
    world.deliver()
    end(world, "A")
    assert_over(world)
    assert world.fates(SLACK) == ["delivered", "dropped"]
    assert reasons(world, "dropped") == {NOT_SENT}
    world.deliver()
    assert world.providers[PAGER.key].received == [("A-critical", "firing"), ("A-critical", "resolved")]


def test_the_next_firing_is_news_in_a_new_episode(world: World) -> None:
    for _ in range(2):
        fire(world, "A")
        world.deliver()
        end(world, "A")
        world.now += HOUR
    assert [episode for _, episode in world.providers[SLACK.key].firing] == [1, 2]
    assert world.providers[SLACK.key].received == [("A-critical", "firing")] * 2


def test_a_message_about_another_alert_shows_the_end(world: World) -> None:
    fire(world, "A")
    world.deliver()
    end(world, "A")
    fire(world, "B")
    fire(world, "C")
    world.deliver()
    end(world, "B")
    assert isinstance(world.begin(SLACK), Idle)
    fire(world, "D")
    work = world.work_of(SLACK)
    assert [each.alert.fingerprint for each in work.conversation.resolved] == ["B-critical"]
    assert [each.news for each in work.conversation.resolved] == [False]


def test_an_alert_that_fires_again_in_its_group_is_news(world: World) -> None:
    fire(world, "A", "B")
    world.deliver()
    end(world, "A")
    world.now += HOUR
    fire(world, "A")
    world.deliver()
    sent = [each for each in world.providers[SLACK.key].received if each[0] == "A-critical"]
    assert sent == [("A-critical", "firing")] * 2


def test_an_end_before_the_firing_was_sent_is_obsolete(world: World) -> None:
    fire(world, "A")
    end(world, "A")
    assert_over(world)
    assert world.fates(SLACK) == ["obsolete", "obsolete"]


@pytest.mark.parametrize("outcome", [Delivered({"ts": "1"}), Retry("503"), Retry("timeout", ambiguous=True)])
def test_an_end_during_an_attempt_sends_nothing_later(world: World, outcome: Delivered | Retry) -> None:
    fire(world, "A")
    work = world.work_of(SLACK)
    end(world, "A")
    assert world.fates(SLACK) == ["pending", "dropped"]
    world.finish(work, outcome)
    assert_over(world)
    assert world.fates(SLACK) == ["delivered" if isinstance(outcome, Delivered) else "obsolete", "dropped"]


def test_an_end_during_an_attempt_that_never_began(world: World) -> None:
    fire(world, "A")
    work = world.work_of(SLACK)
    end(world, "A")
    world.take_back(work)
    assert_over(world)


def test_an_end_during_an_attempt_that_a_restart_interrupts(world: World) -> None:
    fire(world, "A")
    world.work_of(SLACK)
    end(world, "A")
    world.restart()
    assert_over(world)
    assert reasons(world, "obsolete") == {UNCONFIRMED}


def test_an_end_after_a_lost_answer(world: World) -> None:
    fire(world, "A")
    world.finish(world.work_of(SLACK), Retry("timeout", ambiguous=True))
    end(world, "A")
    assert_over(world)
    assert world.fates(SLACK) == ["obsolete", "dropped"]


def test_an_end_during_an_attempt_at_a_repeat(world: World) -> None:
    routes = tuple(replace(route, repeat=0) for route in WITHOUT.root.routes)
    world.reload(replace(WITHOUT, root=replace(WITHOUT.root, routes=routes)))
    fire(world, "A")
    world.deliver()
    fire(world, "A")
    work = world.work_of(SLACK)
    end(world, "A")
    world.finish(work, Retry("http 503"))
    assert_over(world)
    assert world.fates(SLACK) == ["delivered", "obsolete", "dropped"]


def test_a_repeated_end_is_dropped_too(world: World) -> None:
    fire(world, "A", "B")
    world.deliver()
    end(world, "A")
    end(world, "A")
    end(world, "A", "B")
    end(world, "A", "B")
    assert world.fates(SLACK)[2:] == ["dropped"] * 6
    assert reasons(world, "dropped") == {NOT_SENT}


@pytest.mark.parametrize("rules", [POLICY, WITHOUT])
def test_a_group_of_a_gone_destination_closes_when_it_is_shown_whole(world: World, rules: Policy) -> None:
    """Its hidden alerts kept the conversation open. There is no lane any more that could send the end."""
    world.reload(rules)
    world.post(alert("A", "critical"), truncated=2)
    world.deliver()
    end(world, "A", truncated=2)
    world.deliver()
    world.reload(
        replace(
            POLICY,
            receivers={"team": (TEAM,)},
            root=replace(POLICY.root, routes=()),
            schedules={},
            fingerprint="team",
        )
    )
    end(world, "A", truncated=0)
    assert {row.state for row in world.state.conversations if row.destination == SLACK.key} == {"closed"}
    assert not [
        row for row in world.state.conversations if row.destination == SLACK.key and row.due_at is not None
    ]


def test_a_group_that_is_shown_whole_closes_without_a_message(world: World) -> None:
    world.post(alert("A", "critical"), truncated=1)
    world.deliver()
    world.post(alert("A", "critical", Status.RESOLVED), truncated=1)
    assert isinstance(world.begin(SLACK), Idle)
    end(world, "A", truncated=0)
    assert_over(world)


def test_the_end_of_a_refused_firing_sends_nothing(world: World) -> None:
    fire(world, "A")
    work = world.work_of(SLACK)
    end(world, "A")
    world.finish(work, Rejected("timeout", ambiguous=True))
    assert isinstance(world.begin(SLACK), Idle)
    world.retry_the_dead()
    assert_over(world)
    assert world.fates(SLACK) == ["obsolete", "dropped"]


def test_a_dead_end_that_is_tried_again_is_dropped(world: World) -> None:
    world.reload(POLICY)
    fire(world, "A")
    world.deliver()
    end(world, "A")
    world.finish(world.work_of(SLACK), Rejected("http 400"))
    world.reload(WITHOUT)
    world.retry_the_dead()
    assert_over(world)
    assert world.fates(SLACK) == ["delivered", "dropped"]


def test_a_recipient_that_was_left_out_gets_no_end(world: World) -> None:
    fire(world, "A")
    world.deliver()
    routes = tuple(replace(route, repeat=0) for route in WITHOUT.root.routes)
    world.reload(replace(WITHOUT, root=replace(WITHOUT.root, routes=routes)))
    fire(world, "A")
    world.finish(world.work_of(SLACK), Delivered({"ts": "1"}, refused=(Refusal("bob", "550"),)))
    end(world, "A")
    world.retry_the_dead()
    assert_over(world)


def test_a_due_end_is_dropped_once_a_reload_sets_the_option(world: World) -> None:
    world.reload(POLICY)
    fire(world, "A")
    world.deliver()
    end(world, "A")
    assert world.fates(SLACK) == ["delivered", "pending"]
    world.reload(WITHOUT)
    assert_over(world)
    assert world.fates(SLACK) == ["delivered", "dropped"]


def test_ends_are_sent_once_a_reload_removes_the_option(world: World) -> None:
    fire(world, "A", "B")
    world.deliver()
    end(world, "A")
    world.reload(POLICY)
    end(world, "B")
    world.deliver()
    assert world.providers[SLACK.key].received[2:] == [("B-critical", "resolved")]
    assert world.fates(SLACK) == ["delivered", "delivered", "dropped", "delivered"]


def test_a_destination_that_left_the_rules_keeps_the_option(world: World) -> None:
    fire(world, "A")
    world.deliver()
    world.reload(RULES[2])
    end(world, "A")
    assert_over(world)
    assert world.fates(SLACK) == ["delivered", "dropped"]


def test_a_firing_that_contradicts_an_unsent_end_counts_later(world: World) -> None:
    fire(world, "A")
    start = world.now
    world.deliver()
    world.post(alert("A", "critical", Status.RESOLVED, start), peer="http://am-1")
    world.now += MINUTE
    world.post(alert("A", "critical", starts_at=start), peer="http://am-2")
    assert world.fates(SLACK) == ["delivered", "dropped", "obsolete"]
    world.now += HOUR
    world.deliver()
    assert world.providers[SLACK.key].received == [("A-critical", "firing")] * 2
    world.assert_balanced()
