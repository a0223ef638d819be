"""What is asked of a lane through a replica that does not serve it, while the one that serves it hangs, ends, or is gone."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from router.app import Service
from router.deliver import Lanes, PauseAnswer, lane_actions
from router.deliver.lane import Lane
from router.model import SECOND, Millis
from router.store import LaneRequest, OperatorPause, StoreUnavailable
from router.store.lane_requests import LaneRequests
from router.store.operator_pauses import OperatorPauses
from tests.waiting import until
from tests.world.asking import SLACK, run_deliveries_command, until_delivered
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_server import http
from tests.world.fake_slack import Want
from tests.world.replicas import PAGES, SLACK_LANES, Pair, lanes_of, replica_pair

pair = replica_pair
Act = Callable[[World], Coroutine[Any, Any, Any]]


def service_of(world: World) -> Service:
    assert world.service is not None
    return world.service


async def pause(world: World) -> PauseAnswer:
    answer = await service_of(world).lanes.pause(SLACK, "anna")
    assert answer is not None
    return answer


async def resume(world: World) -> Mapping[str, str]:
    answer = await service_of(world).lanes.resume(SLACK)
    assert answer is not None
    return answer


def open_requests(pair: Pair) -> int:
    (found,) = pair.server.execute("SELECT count(*) FROM lane_requests WHERE answer IS NULL", pair.database)
    return int(found[0])


@contextmanager
def unserved(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No replica wants to serve lanes as long as this lasts, and nobody waits for one that does."""
    with monkeypatch.context() as patch:
        patch.setattr(lane_actions, "_NOBODY_FOR", 0)
        patch.setattr(Lanes, "wants", lambda _: ())
        yield


def holds_no_lanes(world: World) -> bool:
    return not any(each["is_here"] for each in service_of(world).lanes.describe())


def hang(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """A replica sends as before, but answers no request."""
    hanging, unanswered = service_of(world).store.lane_requests, LaneRequests.unanswered

    async def found(requests: LaneRequests, now: Millis) -> list[LaneRequest]:
        return [] if requests is hanging else await unanswered(requests, now)

    monkeypatch.setattr(LaneRequests, "unanswered", found)


async def start_with_hung_holder(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> tuple[World, World]:
    """Start. :returns: the replica that serves Slack and answers no request, and the other one"""
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    hang(monkeypatch, holder)
    return holder, pair.other(holder)


async def test_what_is_asked_while_nobody_serves_is_done_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    for act, count in ((pause, 0), (resume, 1)):
        with unserved(monkeypatch):
            await pair.when(lambda: all(map(holds_no_lanes, pair.both)), "nobody serves lanes")
            await act(pair.a)
            assert open_requests(pair) == 0
            await pair.a.post("Down", "critical")
        await pair.when(pair.serves_all, "all lanes are served again")
        await until_delivered(pair.a, 2 + count)
        await pair.a.at_rest()
        assert len(pair.a.slack.messages) == count


async def test_a_request_overtakes_older_ones_that_nobody_answered(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    monkeypatch.setattr(lane_actions, "_ANSWER_WITHIN", 0)
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    hang(monkeypatch, holder)
    assert (await resume(other))["status"] == "is being tried"
    assert open_requests(pair) == 1  # the holder is to try it
    await pause(other)
    assert open_requests(pair) == 0


async def test_a_resume_that_nobody_answered_leaves_a_newer_pause_alone(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, other = await start_with_hung_holder(pair, monkeypatch)
    resuming = asyncio.create_task(resume(other))
    await asked(pair)
    monkeypatch.setattr(lane_actions, "_ANSWER_WITHIN", 0)
    await pause(other)  # it closes the older request
    expected = "a newer pause lasts; nothing is sent until it ends"
    assert await resuming == {"status": "nothing was due to try", "reason": expected}
    stored = await service_of(other).store.pauses.read()
    assert stored[SLACK].until is None


@pytest.mark.parametrize("acts", [(pause, resume), (resume, pause)])
async def test_what_a_holder_does_itself_supersedes_older_requests(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, acts: tuple[Act, Act]
) -> None:
    with monkeypatch.context() as patch:
        holder, other = await start_with_hung_holder(pair, patch)
        first, second = acts
        asking = asyncio.create_task(first(other))
        await asked(pair)
        await second(holder)
        assert open_requests(pair) == 0
        await asking
    await pair.a.at_rest()
    stored = await service_of(other).store.pauses.read()
    assert (stored[SLACK].until is None) == (second is pause)


async def test_requests_are_carried_out_in_their_order(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    requests = service_of(pair.other(holder)).store.lane_requests
    end, now = OperatorPauses.end, pair.a.clock.now()
    with monkeypatch.context() as patch:
        hang(patch, holder)
        await requests.ask(SLACK, "resume", "anna", now)
        await requests.ask(SLACK, "pause", "anna", now)

    async def slow(pauses: OperatorPauses, *arguments: Any) -> None:
        """The first request is carried out slowly."""
        for _ in range(20):
            await pauses.read()
        await end(pauses, *arguments)

    monkeypatch.setattr(OperatorPauses, "end", slow)
    await service_of(holder).lanes._actions.answer_requests()
    await pair.when(lambda: open_requests(pair) == 0, "both are answered")
    assert (await service_of(holder).store.pauses.read())[SLACK].until is None


@pytest.mark.parametrize("through_another", [True, False])
@pytest.mark.parametrize(("act", "name", "last"), [(pause, "begin", resume), (resume, "end", pause)])
async def test_a_holder_that_stood_still_changes_no_pause(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, act: Act, name: str, last: Act, *, through_another: bool
) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other, lanes = pair.other(holder), service_of(holder).lanes
    if act is resume:
        await pause(holder)
    stands, goes_on, change = asyncio.Event(), asyncio.Event(), getattr(OperatorPauses, name)
    expelled = service_of(holder).store.pauses

    async def stalled(pauses: OperatorPauses, *arguments: Any) -> Any:
        if pauses is expelled:
            stands.set()
            await goes_on.wait()
        return await change(pauses, *arguments)

    monkeypatch.setattr(OperatorPauses, name, stalled)
    acting = asyncio.create_task(act(other if through_another else holder))
    await stands.wait()
    await pair.expel(holder)
    pair.a.clock.advance(SECOND)  # lanes begin without tokens
    if through_another:
        await acting
        assert (await stored_pause(other)).until == (None if act is pause else MONDAY_NOON + SECOND)
    await last(other)
    goes_on.set()
    if through_another:
        await until(lambda: _is(not lanes._actions._answering), "the last holder has looked at the request")
    else:
        await acting  # it is asked of the next holder now
        last = act
    assert ((await stored_pause(other)).until is None) == (last is pause)
    assert (lanes_of(other)[SLACK]["paused_since"] is not None) == (last is pause)


async def stored_pause(world: World) -> OperatorPause:
    return (await service_of(world).store.pauses.read())[SLACK]


async def test_a_pause_while_a_lane_passes_on_holds_at_its_next_holder(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other, membership = pair.other(holder), service_of(holder).membership
    async with service_of(holder).lanes._served.changing:
        pausing = asyncio.create_task(pause(holder))
        await asyncio.sleep(0)  # it waits for the lock
        membership.stop_taking()
        await membership._release(SLACK_LANES)
        await until(lambda: _is(bool(lanes_of(other)[SLACK]["is_here"])), "the other one serves Slack")
    assert await pausing == PauseAnswer(MONDAY_NOON)
    assert lanes_of(other)[SLACK]["paused_since"] == MONDAY_NOON


async def test_a_pause_and_its_end_are_told_to_others_at_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    monkeypatch.setattr(Lanes, "renewed", lambda _: None)
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    await pause(holder)
    await until(lambda: _is(lanes_of(other)[SLACK]["paused_since"] == MONDAY_NOON), "the pause is known")
    await resume(holder)
    await until(lambda: _is(lanes_of(other)[SLACK]["paused_since"] is None), "its end is known")


async def test_who_loses_a_lane_stops_to_answer_for_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    await pair.start()
    holder, tried = pair.holder(SLACK_LANES), asyncio.Event()

    async def without_end(_: Lane) -> None:
        tried.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(Lane, "try_now", without_end)
        resuming = asyncio.create_task(resume(pair.other(holder)))
        await tried.wait()
    actions = service_of(holder).lanes._actions
    assert len(actions._answering) == 1
    service_of(holder).lanes.lost(SLACK_LANES)
    await until(lambda: _is(not actions._answering), "it stops")
    await pair.expel(holder)
    pair.a.clock.advance(SECOND)
    assert (await resuming)["status"] == "nothing was due to try"


async def test_a_destination_that_a_reload_removes_can_be_asked_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    other = pair.other(pair.holder(SLACK_LANES))
    for act, store, name in ((pause, OperatorPauses, "begin_elsewhere"), (resume, LaneRequests, "ask")):
        await service_of(other).reloader.reload("anna")
        ask = getattr(store, name)

        async def removed(*arguments: Any, ask: Callable[..., Awaitable[Any]] = ask) -> Any:
            await service_of(other).lanes.serve(())
            return await ask(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(store, name, removed)
            await act(other)


async def test_the_number_of_a_request_is_never_used_again(pair: Pair) -> None:
    await pair.start()
    requests = service_of(pair.a).store.lane_requests
    first = await requests.ask(SLACK, "pause", "anna", pair.a.clock.now())
    pair.server.execute("DELETE FROM lane_requests", pair.database)
    assert await requests.ask(SLACK, "pause", "anna", pair.a.clock.now()) > first


# The holder ends while somebody waits for its answer.


async def expelled(pair: Pair, world: World) -> None:
    """Let the other replica take one for dead that still runs."""
    session = service_of(world).membership.session
    pair.server.execute(f"UPDATE replicas SET expires_at = 0 WHERE id = '{session}'", pair.database)
    service_of(pair.other(world)).membership.renew_soon()


async def asked(pair: Pair) -> None:
    """Wait until a request waits for an answer."""
    await until(lambda: _is(open_requests(pair) == 1), "a request waits")


async def _is(value: bool) -> bool:
    return value


async def test_a_pause_holds_for_the_next_holder_if_the_last_one_dies(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, other = await start_with_hung_holder(pair, monkeypatch)
    with unserved(monkeypatch):
        pausing = asyncio.create_task(run_deliveries_command(other, "pause", SLACK))
        await asked(pair)
        await expelled(pair, holder)
        result = await pausing
    assert "no replica serves the destination now; the pause is stored, and the next replica" in result.output
    await pair.when(lambda: not any(map(holds_no_lanes, pair.both)), "both serve lanes again")
    await other.post("Down", "critical")
    pair.a.clock.advance(SECOND)  # lanes begin without tokens
    await until_delivered(other, 2)
    await pair.a.at_rest()
    assert lanes_of(pair.holder(SLACK_LANES))[SLACK]["paused_since"] == MONDAY_NOON
    assert not pair.a.slack.messages


async def test_the_next_holder_answers_what_the_last_one_was_asked(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    holder = pair.holder(SLACK_LANES)
    other = pair.other(holder)
    await pause(other)
    await other.post("Down", "critical")
    hang(monkeypatch, holder)
    resuming = asyncio.create_task(resume(other))
    await asked(pair)
    await pair.expel(holder)
    pair.a.clock.advance(SECOND)
    assert await resuming == {"status": "delivered", "reason": ""}
    pair.a.slack.expect(Want("C0CRITICAL", ("Down",)))


@pytest.mark.parametrize("act", [pause, resume])
async def test_what_a_holder_did_without_an_answer_is_done_again(
    act: Act, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    holder, answer, lost = pair.holder(SLACK_LANES), LaneRequests.answer, []
    other = pair.other(holder)
    await pause(other)
    await other.post("Down", "critical")
    ending = service_of(holder).store.lane_requests

    async def answered(requests: LaneRequests, *arguments: Any) -> None:
        if requests is ending:
            lost.append(arguments)
            await pair.expel(holder)
            pair.a.clock.advance(SECOND)  # lanes begin without tokens
            raise StoreUnavailable("its lease is lost")
        await answer(requests, *arguments)

    monkeypatch.setattr(LaneRequests, "answer", answered)
    found = await act(other)
    assert len(lost) == 1
    if act is pause:
        assert found == PauseAnswer(MONDAY_NOON)
        assert not pair.a.slack.messages
    else:
        assert found == {"status": "nothing was due to try", "reason": ""}
        pair.a.slack.expect(Want("C0CRITICAL", ("Down",)))
    assert open_requests(pair) == 0


async def test_a_pause_that_a_hung_holder_has_not_confirmed_is_said_so(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    monkeypatch.setattr(lane_actions, "_ANSWER_WITHIN", 0)
    holder = pair.holder(SLACK_LANES)
    hang(monkeypatch, holder)
    result = await run_deliveries_command(pair.other(holder), "pause", SLACK)
    assert "the replica that serves the destination has not confirmed it yet" in result.output
    await pair.when(
        lambda: lanes_of(holder)[SLACK]["paused_since"] == MONDAY_NOON, "the holder has read the pause"
    )


async def test_a_dead_letter_retried_through_another_is_sent_by_the_holder(pair: Pair) -> None:
    await pair.start()
    holder = pair.holder(PAGES)
    other = pair.other(holder)
    pair.a.pagerduty.fail(*[http(400)] * 100)  # smaller events are refused as well
    await other.post("Down", "critical")
    await pair.when(lambda: _has_dead(pair), "it is given up")
    pair.a.pagerduty.recover()
    (letter,) = (await other.get("/api/v1/dead-letters"))["items"]
    tried = await run_deliveries_command(other, "retry", str(letter["id"]))
    assert f"{letter['id']}: to be tried again\n" in tried.output
    await pair.a.pagerduty.until(lambda: len(pair.a.pagerduty.accepted) == 1)
    await until_delivered(other, 3)
    await other.at_rest()
    by = pair.server.execute(
        "SELECT replica FROM deliveries WHERE destination LIKE 'pagerduty%' ORDER BY id DESC LIMIT 1",
        pair.database,
    )
    assert by == [(service_of(holder).membership.session,)]


def _has_dead(pair: Pair) -> bool:
    (found,) = pair.server.execute("SELECT count(*) FROM dead_letters", pair.database)
    return bool(found[0])
