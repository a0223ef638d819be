"""When an inhibitor ends, what it muted is judged once more at once: Alertmanager won't send it again for hours."""

import json
from collections.abc import Iterable, Sequence

from router.core.judging import rejudge_all
from router.core.rows import MetaRow
from router.core.state import State
from router.decide import Policy
from router.model import Millis

UNRELEASED = "unreleased"
"""In the meta table: inhibition keys that ended and muted very many, a JSON list."""
MANY_MUTED = "many muted"
"""A question: how many alerts an inhibition key mutes, as it was saved; counted up to one more than :data:`MANY`."""
MANY = 200
"""Alerts that are judged in the batch in which what muted them ended."""


def want_released(state: State, keys: Iterable[str]) -> None:
    """Have the rows loaded that :func:`release` asks for, in rounds. :raises Missing:"""
    keys = sorted(keys)
    for key in keys:
        state.wish(MANY_MUTED, key)
    state.ready()
    few = _released_immediately(state, keys)
    state.members.want("muted", few)
    if len(few) < len(keys):
        state.meta.want("id", (UNRELEASED,))
    state.ready()


def _released_immediately(state: State, keys: Iterable[str]) -> list[str]:
    """Those of these keys that mute no more than :data:`MANY` alerts together."""
    total, few = 0, []
    for key in sorted(keys):
        muted: int = state.ask(MANY_MUTED, key)
        if total + muted <= MANY:
            total += muted
            few.append(key)
    return few


def muted_by(state: State, keys: Iterable[str]) -> set[int]:
    """The alerts that :func:`release` judges. Those of a key that mutes very many are judged later, in pieces."""
    return {
        member.alert_id
        for key in _released_immediately(state, keys)
        for member in state.members.of("muted", key)
    }


def release_muted(
    state: State, policy: Policy, keys: Iterable[str], now: Millis
) -> tuple[frozenset[str], bool]:
    """These inhibition keys mute nothing any more. The destinations that may have something to do, and whether alerts
    are left for :func:`release_some`.
    """
    keys = sorted(keys)
    if not keys:
        return frozenset(), False
    want_released(state, keys)
    woken = rejudge_all(state, policy, sorted(muted_by(state, keys)), now)
    many = sorted(set(keys) - set(_released_immediately(state, keys)))
    if many:
        _note(state, sorted({*unreleased(state), *many}))
    return woken, bool(many)


def unreleased(state: State) -> list[str]:
    """The keys of which alerts are to be judged in pieces."""
    row = state.meta.get(UNRELEASED)
    keys: list[str] = [] if row is None else json.loads(row.value)
    return keys


def release_some(
    state: State, policy: Policy, key: str, alerts: Sequence[int], now: Millis, *, last: bool
) -> frozenset[str]:
    """Judge some of the alerts that a key muted. The destinations that may have something to do.

    :param last: there are no more
    """
    woken = rejudge_all(state, policy, alerts, now)
    if last:
        _note(state, [each for each in unreleased(state) if each != key])
    return woken


def _note(state: State, keys: list[str]) -> None:
    state.meta.put(MetaRow(UNRELEASED, json.dumps(keys)))
