"""SQLite and rows in memory: the same histories leave the same rows, and queries have the same answers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st

from router.core.claimed_delivery import NO_STORM, Share
from router.core.conversations import FIRST_DUE, ONE_ENDED
from router.core.digests import FIRED_SINCE, MANY_REPORTED, OBSOLETE_IN, UNREPORTED
from router.core.inhibited_alerts import INHIBITED_BY
from router.core.release import MANY_MUTED
from router.core.rows import OF_STORM
from router.core.upcoming import NEXT_DUE, Wanted
from router.model import HOUR, MINUTE, SECOND, Status
from router.store import Limits
from router.store.jobs import FIRST_POSITION
from router.store.queries import QUERIES
from tests.examples import examples
from tests.unit.core import oracle
from tests.unit.core.memory import at_once
from tests.unit.core.stories import ALERTS, STEPS, History
from tests.unit.core.storm_stories import STORM_STEPS, StormHistory
from tests.unit.core.world import ALL, World, with_repeat
from tests.unit.store.sqlite_world import InSqlite, contents, in_sqlite


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Iterator[None]:
    """Pieces are so small that every history has several of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("router.store.starts.ROWS_PER_STATEMENT", 2)
        yield


def asked(world: World) -> dict[str, list[Any]]:
    """Each query with several parameters."""
    now = world.now
    keys = [each.key for each in ALL]
    moments = (now - HOUR, now, now + 12 * HOUR)
    ids = [0, *sorted(row.id for row in world.state.alerts)[:1]]
    sizes = (2, 100)
    keys_muting = ["nothing", *sorted({row.inhibitor for row in world.state.members if row.inhibitor})[:1]]
    conversations = sorted(row.id for row in world.state.conversations)[:2]
    storms = [0, *sorted(row.id for row in world.state.conversations if row.kind == OF_STORM)[-1:]]
    last = storms[-1]
    shares = [NO_STORM, Share(last, True), Share(last, True, True, True), Share(last, False, True)]
    return {
        NEXT_DUE: [
            Wanted(key, share, limit, by)
            for key in keys for share in shares for limit in sizes[:1] for by in (None, *moments)
        ],
        "next time": [(key, at) for key in keys for at in moments],
        "surge": [
            (key, at, storm, edits, above)
            for key in keys for at in moments for storm in storms for edits in (True, False) for above in (0, 100)
        ],
        "due after": [
            (key, at, share, after, limit)
            for key in keys for at in moments[1:] for share in shares
            for after in (FIRST_POSITION, (1, ids[-1])) for limit in sizes[:1]
        ],
        "standing": storms,
        OBSOLETE_IN: [(since, until) for since in moments for until in moments],
        MANY_REPORTED: [(since, until) for since in moments for until in moments],
        FIRED_SINCE: [(row.id, at) for row in world.state.alerts for at in moments[:1]],
        UNREPORTED: [row.id for row in world.state.members],
        "firing of": [(source, after, limit) for source in (None, "default", "x") for after in ids for limit in sizes],
        "marked": [(after, limit) for after in ids for limit in sizes],
        "unheard": [(seen, at, after, limit) for seen in (-1, *moments) for at in moments for after in ids for limit in sizes[:1]],
        "doubted": [(source, after, limit) for source in ("default", "x") for after in ids for limit in sizes],
        "lasting doubts": [(at, limit) for at in moments for limit in sizes],
        "still notified": [()],
        "next opening": list(moments),
        FIRST_DUE: conversations,
        INHIBITED_BY: [(row.id, now) for row in world.state.conversations if row.group_id is not None],
        MANY_MUTED: keys_muting,
        "muted by": [(key, after, limit) for key in keys_muting for after in ids for limit in sizes],
        ONE_ENDED: conversations,
        "members of": [(id_, after, limit) for id_ in conversations for after in (0, id_ + 1) for limit in sizes],
        "left open": [(id_, 100) for id_ in conversations],
    }  # fmt: skip


def _asking(query: str, keys: list[Any]) -> Callable[[sa.Connection], dict[Any, Any]]:
    return lambda connection: QUERIES[query](connection, keys)


def assert_answers_agree(world: World, database: InSqlite) -> None:
    state = world.state
    for query, keys in asked(world).items():
        answers = at_once(database.read(_asking(query, keys)))
        for key in keys:
            expected = oracle.answer(state, query, key)
            assert answers[key] == expected, f"{query} {key}"


def test_every_query_is_compared() -> None:
    with in_sqlite() as database:
        assert set(asked(World(database=database))) == set(QUERIES) == set(oracle.QUERIES)


_steps = st.lists(
    st.one_of(
        STEPS.map(lambda steps: ("steps", steps)),
        st.tuples(st.just("clock"), st.sampled_from([-26 * HOUR, -HOUR, -2 * SECOND, MINUTE, 9 * HOUR])),
        st.tuples(st.just("resume"), st.sampled_from(ALL)),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("pair"), st.lists(ALERTS, min_size=1, max_size=2, unique=True)),
    ),
    max_size=6,
)


def play(history: History, kind: str, what: Any) -> None:
    world = history.world
    match kind:
        case "steps":
            for step in what:
                history.play(*step)
        case "clock":
            at_once(world.store.timekeeping.heartbeat(world.policy, world.now))
            world.now += what
            at_once(world.store.timekeeping.step_clock(world.policy, world.now, back=what < 0))
        case "resume":
            at_once(world.store.resume(what.key))
        case "restart":
            history.die()
        case "pair":  # one peer ends it, the other one goes on
            for status, peer in ((Status.FIRING, "a"), (Status.RESOLVED, "a"), (Status.FIRING, "b")):
                history.post(what, "g", status, peer)
    world.assert_balanced()


_TWO_WARNINGS = ("steps", [("post", [("A", "warning")], group) for group in "gh"])


@given(_steps, st.sampled_from([None, 0, HOUR]))
# The conversation that goes first after many criticals does not replace another one.
@example([_TWO_WARNINGS], None)
@examples(14)
def test_a_history_in_sqlite_is_the_same_in_memory(steps: list[tuple[str, Any]], repeat: Any) -> None:
    with in_sqlite() as database:
        policy = with_repeat(repeat)
        worlds = World(policy=policy), World(policy=policy, database=database)
        histories = [History(world) for world in worlds]
        for step in steps:
            for history in histories:
                play(history, *step)
            memory, sqlite = (contents(world.state) for world in worlds)
            for table, expected in memory.items():
                assert sqlite[table] == expected, table
            assert at_once(worlds[1].store.integrity(worlds[1].now)).miscounted.first == ()
        assert_answers_agree(worlds[1], database)


@given(STORM_STEPS, st.booleans())
@examples(8)
def test_a_storm_in_sqlite_is_the_same_in_memory(steps: list[tuple[str, Any]], edits: Any) -> None:
    with in_sqlite() as database:
        limits = Limits(above=2, every=5 * SECOND, room=100, edits=edits)
        storms = StormHistory(limits), StormHistory(limits, database)
        for step in steps:
            for storm in storms:
                storm.step(*step)
        for storm in storms:
            storm.settle()
        memory, sqlite = (contents(storm.world.state) for storm in storms)
        for table, expected in memory.items():
            assert sqlite[table] == expected, table
        assert_answers_agree(storms[1].world, database)
