"""Releasing: when an inhibitor ends, the alerts that it muted are judged again immediately.

It can take hours until Alertmanager sends them again.
"""

import json
from collections.abc import Iterable, Sequence

from router.core.judging import rejudge_all
from router.core.rows import MetaRow
from router.core.state import State
from router.decide import Policy
from router.model import Millis

UNRELEASED = "unreleased"
"""A key of the meta table. Its value is a JSON list of inhibition keys that have ended, but whose alerts still have
to be judged, because there are more than :data:`MANY`.
"""
MANY_MUTED = "many muted"
"""A query: how many alerts an inhibition key mutes by the saved rows; counted up to one more than :data:`MANY`."""
MANY = 200
"""At most how many alerts are judged in the batch in which their inhibitor ends. If there are more, they are judged in
pieces.
"""


def want_released(state: State, keys: Iterable[str]) -> None:
    """Request the rows that :func:`release_muted` needs. :raises MissingRows: some are not loaded yet"""
    keys = sorted(keys)
    for key in keys:
        state.want_answer(MANY_MUTED, key)
    state.ready()
    few = _released_immediately(state, keys)
    state.members.want("muted", few)
    if len(few) < len(keys):
        state.meta.want("id", (UNRELEASED,))
    state.ready()


def _released_immediately(state: State, keys: Iterable[str]) -> list[str]:
    """Return the first keys that mute no more than :data:`MANY` alerts together."""
    total, few = 0, []
    for key in sorted(keys):
        muted: int = state.ask(MANY_MUTED, key)
        if total + muted <= MANY:
            total += muted
            few.append(key)
    return few


def alerts_to_judge(state: State, keys: Iterable[str]) -> set[int]:
    """Return the ids of the alerts that :func:`release_muted` judges. The alerts of the other keys are judged in pieces."""
    return {
        member.alert_id
        for key in _released_immediately(state, keys)
        for member in state.members.of("muted", key)
    }


def release_muted(
    state: State, policy: Policy, keys: Iterable[str], now: Millis
) -> tuple[frozenset[str], bool]:
    """Judge the alerts of inhibition keys that no longer mute.

    Return the keys of destinations that may have something to send, and whether alerts are left for
    :func:`release_some`.
    """
    keys = sorted(keys)
    if not keys:
        return frozenset(), False
    want_released(state, keys)
    woken = rejudge_all(state, policy, sorted(alerts_to_judge(state, keys)), now)
    many = sorted(set(keys) - set(_released_immediately(state, keys)))
    if many:
        _note(state, sorted({*unreleased(state), *many}))
    return woken, bool(many)


def unreleased(state: State) -> list[str]:
    """Return the inhibition keys whose alerts are to be judged in pieces."""
    row = state.meta.get(UNRELEASED)
    keys: list[str] = [] if row is None else json.loads(row.value)
    return keys


def release_some(
    state: State, policy: Policy, key: str, alerts: Sequence[int], now: Millis, *, last: bool
) -> frozenset[str]:
    """Judge some of the alerts that an inhibition key muted. Return the keys of destinations to wake.

    :param last: these are the last alerts of the key
    """
    woken = rejudge_all(state, policy, alerts, now)
    if last:
        _note(state, [each for each in unreleased(state) if each != key])
    return woken


def _note(state: State, keys: list[str]) -> None:
    state.meta.put(MetaRow(UNRELEASED, json.dumps(keys)))
