"""Puts rules in force: at a start, and whenever routes.yaml is loaded again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.core.accept import index_inhibitor
from router.core.alerts import labels_of
from router.core.digests import close_slots, open_slots
from router.core.rows import ALL, FIRING, ConfigurationRow, DestinationRow, FragmentRow, MetaRow
from router.core.state import State
from router.decide import Policy
from router.model import Configuration, Millis
from router.packed import pack

POLICY = "policy"
"""The fingerprint of the rules that everything is judged by."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What comes with the rules and has to outlast them."""

    policy: Policy
    destinations: Mapping[str, str] = field(default_factory=dict)
    """How each destination is reached, by key."""
    fragments: Mapping[str, str] = field(default_factory=dict)
    """Included files in force, by name."""


def known_fragments(state: State) -> dict[str, str]:
    return {row.name: row.text for row in state.fragments.of(ALL, ())}


def adopt(state: State, adoption: Adoption, now: Millis) -> bool:
    """Digests have their slots. Whether the rules differ from the last ones: then whatever fires is to be judged by
    them, see :func:`reindex` and :func:`router.core.members.rejudge_all`, and :func:`adopted` says that it was.
    """
    _keep_fragments(state, adoption.fragments)
    _keep_configuration(state, adoption.policy.configuration, now)
    state.conversations.want("open slots", ("open",))
    state.ready()
    close_slots(state, adoption.policy, now)
    open_slots(state, adoption.policy, now)
    last = state.meta.get(POLICY)
    if last is not None and last.value == adoption.policy.fingerprint:
        return False
    state.meta.put(MetaRow(POLICY, ""))  # of none, until everything is judged
    return True


def adopted(state: State, policy: Policy) -> None:
    state.meta.put(MetaRow(POLICY, policy.fingerprint))


def reindex(state: State, policy: Policy, ids: Sequence[int]) -> None:
    """The levels of these alerts, and what they inhibit, follow the rules."""
    state.alerts.want("id", ids)
    state.inhibitors.want("alert", ids)
    state.ready()
    for id_ in ids:
        alert = state.alerts.get(id_)
        if alert is None or alert.status != FIRING:
            continue
        level, _ = policy.severity.of(labels_of(alert))
        state.alerts.put(alert._replace(level=level))
        for each in state.inhibitors.of("alert", id_):
            state.inhibitors.remove(each)
        index_inhibitor(state, policy, alert)


def _keep_fragments(state: State, texts: Mapping[str, str]) -> None:
    if known_fragments(state) == dict(texts):
        return
    for row in state.fragments.of(ALL, ()):
        if row.name not in texts:
            state.fragments.remove(row)
    for name, text in texts.items():
        state.fragments.put(FragmentRow(name, text))


def _keep_configuration(state: State, configuration: Configuration, now: Millis) -> None:
    """Decisions name it."""
    if configuration.id is not None:
        positions = pack(json.dumps(dict(configuration.positions), separators=(",", ":")).encode())
        state.configurations.put(ConfigurationRow(configuration.id, configuration.sha256, now, positions))


def keep_destinations(state: State, adoption: Adoption, still_notified: frozenset[str]) -> dict[str, str]:
    """How to reach the destinations that the rules name no more, and that have yet to be notified of an end.

    :param still_notified: the destinations that know of something that fires
    """
    gone: dict[str, str] = {}
    for row in state.destinations.of(ALL, ()):
        if row.key not in adoption.policy.destinations and row.key in still_notified:
            gone[row.key] = row.options
        elif row.key not in adoption.destinations:
            state.destinations.remove(row)
    for key, options in adoption.destinations.items():
        state.destinations.put(DestinationRow(key, options))
    return gone
