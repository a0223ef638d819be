"""What is asked of a lane through a replica that does not serve it, while the one that serves it hangs, ends, or is gone."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from router.app import Service
from router.deliver import Lanes, PauseAnswer, lane_actions
from router.model import Millis
from router.store import LaneRequest
from router.store.lane_requests import LaneRequests
from tests.world.asking import SLACK, until_delivered
from tests.world.conftest import World
from tests.world.replicas import SLACK_LANES, Pair, replica_pair

pair = replica_pair


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
        await pair.when(lambda: not any(map(holds_no_lanes, pair.both)), "both serve lanes again")
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


async def test_a_destination_that_a_reload_removes_can_be_asked_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.start()
    other = pair.other(pair.holder(SLACK_LANES))
    ask = LaneRequests.ask

    async def removed(requests: LaneRequests, *arguments: Any) -> int:
        await service_of(other).lanes.serve(())
        return await ask(requests, *arguments)

    for act in (pause, resume):
        await service_of(other).reloader.reload("anna")
        with monkeypatch.context() as patch:
            patch.setattr(LaneRequests, "ask", removed)
            await act(other)


async def test_the_number_of_a_request_is_never_used_again(pair: Pair) -> None:
    await pair.start()
    requests = service_of(pair.a).store.lane_requests
    first = await requests.ask(SLACK, "pause", "anna", pair.a.clock.now())
    pair.server.execute("DELETE FROM lane_requests", pair.database)
    assert await requests.ask(SLACK, "pause", "anna", pair.a.clock.now()) > first
