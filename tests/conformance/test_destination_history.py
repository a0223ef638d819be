"""What the store says about destinations: their last attempts, and what they wait for."""

from router.model import MINUTE, SECOND, Delivered, Retry, Status
from router.store import Idle, Store
from router.store.destination_history import EndedAttempt
from tests.unit.core.world import NIGHT, PAGER, POLICY, SLACK, TEAM, alert, webhook


async def post(store: Store, name: str, status: Status = Status.FIRING) -> None:
    await store.accept(webhook(alert(name, "critical", status), group=name), "default", b"{}", POLICY, NIGHT)


async def attempt(store: Store, at: int, outcome: Delivered | Retry) -> int:
    """Send what is due at Slack, and return the number of the delivery."""
    work = await store.claim(SLACK, POLICY, at)
    assert not isinstance(work, Idle)
    await store.record(work, outcome, POLICY, at, at + 10 * SECOND)
    return work.delivery


async def test_the_last_attempts_and_the_next_try_are_found(store: Store) -> None:
    await post(store, "A")
    assert await store.pages.destination_histories([SLACK.key]) != {}
    success = await attempt(store, NIGHT, Delivered({"ts": "1"}))
    await post(store, "B")
    failure = await attempt(store, NIGHT + MINUTE, Retry("timeout", words="no answer"))
    for keys in ([SLACK.key], [SLACK.key, PAGER.key, TEAM.key, "slack:NOWHERE"]):
        found = await store.pages.destination_histories(keys)
        history = found[SLACK.key]
        assert history.last_success == EndedAttempt(success, NIGHT, "delivered", "", "")
        assert history.last_failure == EndedAttempt(failure, NIGHT + MINUTE, "retry", "timeout", "no answer")
        assert history.next_at == NIGHT + MINUTE + 10 * SECOND
        assert "slack:NOWHERE" not in found
    assert await store.pages.destination_histories([]) == {}


async def test_a_success_before_many_failures_is_found(store: Store) -> None:
    await post(store, "A")
    success = await attempt(store, NIGHT, Delivered({"ts": "1"}))
    await post(store, "B")
    for number in range(1, 21):
        await attempt(store, NIGHT + number * MINUTE, Retry("timeout"))
    for keys in ([SLACK.key], [SLACK.key, PAGER.key]):
        history = (await store.pages.destination_histories(keys))[SLACK.key]
        assert history.last_success is not None
        assert history.last_success.delivery == success


async def test_the_rest_of_a_long_message_is_no_failure(store: Store) -> None:
    await post(store, "A")
    await attempt(store, NIGHT, Retry("more replies follow", reached=True, unfinished=True))
    assert (await store.pages.destination_histories([SLACK.key]))[SLACK.key].last_failure is None


async def test_ends_that_were_not_sent_are_counted(store: Store) -> None:
    for name in "AB":
        await post(store, name)
    for _ in range(2):
        await attempt(store, NIGHT, Delivered({"ts": "1"}))
    assert await store.pages.unsent_ends([SLACK.key, PAGER.key]) == {SLACK.key: 2}
    await post(store, "A", Status.RESOLVED)
    await attempt(store, NIGHT + MINUTE, Delivered({"ts": "1"}))
    assert await store.pages.unsent_ends([SLACK.key]) == {SLACK.key: 1}
    assert (await store.pages.lanes_and_used_destinations(NIGHT))[1] == {SLACK.key}


async def test_trouble_in_the_store_is_counted(store: Store) -> None:
    await post(store, "A")
    await store.quarantine(b"x", "default", "r", NIGHT)
    found = await store.pages.troubles()
    assert (found.dead_letters, found.quarantined.count, found.imbalance) == (0, 1, 0)
