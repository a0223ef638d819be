"""Recorded histories give the recorded results, see ``tests/histories/__init__.py``."""

import json
import os
from copy import deepcopy
from pathlib import Path

import pytest

from tests.histories.compare import compare
from tests.histories.data import JobResult, load, save
from tests.histories.differences import DIFFERENCES, Difference
from tests.histories.invent import OUTCOMES
from tests.histories.policies import NAMES
from tests.histories.replay import replay
from tests.postgresql import Server

_PARTS = 4
# The suite plays one history of 80, which takes some seconds, and one for each intended difference; `.ci/run`
# plays one in ten, `make hunt` all.
_EVERY = 1 if os.environ.get("CHAOS_SEED") else 80
_SHOWN_PROBLEMS = 2


async def plays_the_same(part: int, every: int, server: Server | None = None) -> None:
    some = load(first=part * every, every=_PARTS * every)
    problems = [each.problem async for _, each in replay(some, server) if each.problem]
    assert not problems, "\n\n".join([f"{len(problems)} histories differ", *problems[:_SHOWN_PROBLEMS]])


@pytest.mark.hunt
@pytest.mark.parametrize("part", range(_PARTS))
async def test_recorded_histories_give_the_same_results(part: int) -> None:
    await plays_the_same(part, _EVERY)


@pytest.mark.hunt
@pytest.mark.parametrize("part", range(_PARTS))
async def test_recorded_histories_give_the_same_results_on_postgresql(part: int, postgresql: Server) -> None:
    await plays_the_same(part, 1 if _EVERY == 1 else 6 * _EVERY, postgresql)


async def test_each_intended_difference_is_needed() -> None:
    seeds = {each.seed for each in DIFFERENCES}
    needed: set[str] = set()
    async for _, comparison in replay(each for each in load() if each["seed"] in seeds):
        assert not comparison.problem
        needed |= comparison.needed
    assert needed == {each.what for each in DIFFERENCES}


def test_each_kind_of_event_is_in_many_recorded_histories() -> None:
    texts = [json.dumps(each) for each in load()]
    steps = (
        "post", "wait", "deliver", "claim", "finish", "restart", "reload", "answered", "unanswered", "expire", "settle",
        "step", "retry", "discard", "resume",
    )  # fmt: skip
    fates = ("delivered", "pending", "held", "inhibited", "digest", "obsolete", "dropped", "dead")
    wanted = (
        *(f'"do": "{step}"' for step in steps), *(f'"policy": "{name}"' for name in NAMES),
        *(f'"{outcome}"' for outcome in OUTCOMES), *(f' {fate}": ' for fate in fates), 'news again"', 'news held"',
        '"over": true', '"truncated"', '"peer": 2', '"late": {', '"digest": {', '"flapping": [', '"obsolete": [',
        "(gone from Alertmanager)", "(no longer repeated)", "(its endsAt has passed)", '"retired"', '"next doubt"',
        '"settled": "retried"', '"settled": "discarded"', '"bob@example.com", ', " failed: ",
    )  # fmt: skip
    assert len(texts) == 2_000
    counts = {what: sum(what in text for text in texts) for what in wanted}
    assert {what: count for what, count in counts.items() if count < 20} == {}
    assert not any('"imbalance"' in text for text in texts)


def test_a_different_result_is_shown_with_the_steps_before_it() -> None:
    recorded = next(each for each in load() if any("claims" in result for result in each["results"]))
    number = next(number for number, result in enumerate(recorded["results"]) if "claims" in result)
    replayed = deepcopy(recorded["results"])
    assert compare(recorded, replayed).problem == ""
    replayed[number]["claims"][0]["episode"] = 77
    problem = compare(recorded, replayed, ()).problem
    assert f"History {recorded['seed']} under" in problem
    assert "77" in problem
    assert problem.count("<-- differs") == 1
    assert f"\n{number + 1:3} {recorded['steps'][number]['do']}" in problem
    assert f"\n{number + 2:3} " not in problem


def without_reasons(result: JobResult) -> JobResult:
    return {name: each for name, each in result.items() if name != "reasons"}


def test_an_intended_difference_hides_itself_and_nothing_else() -> None:
    recorded = next(each for each in load() if "reasons" in each["results"][-1])
    replayed = deepcopy(recorded["results"])
    replayed[-1]["reasons"] = {}
    silent = Difference(
        "no reasons", "", 0, see=lambda was, now: (without_reasons(was), without_reasons(now))
    )
    excused = Difference("it ends", "", 0, excuses=lambda step, was, now, before: not step and was != now)
    assert compare(recorded, replayed, ()).problem
    for intended in (silent, excused):
        found = compare(recorded, replayed, (intended,))
        assert not found.problem
        assert set(found.needed) == {intended.what}
    replayed[0].setdefault("ledger", {})["imbalance"] = 1
    assert compare(recorded, replayed, (silent,)).problem
    always = Difference("anything", "", 0, excuses=lambda step, was, now, before: True)
    assert "imbalance" in compare(recorded, replayed, (always,)).problem


def test_histories_are_read_as_they_were_written(tmp_path: Path) -> None:
    several = [{"seed": seed, "steps": [], "results": [{}]} for seed in range(1_001)]
    save(several, tmp_path)
    assert list(load(tmp_path)) == several
    assert len(list(tmp_path.iterdir())) == 3
