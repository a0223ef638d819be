"""Adopting rules: at a start, and whenever routes.yaml is loaded again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from router.core.alerts import firing_rows, labels_of
from router.core.digests import close_slots, open_slots
from router.core.indexes import ALL
from router.core.reported_alerts import index_inhibitor
from router.core.rows import ConfigurationRow, DestinationRow, FragmentRow, MetaRow
from router.core.rules_in_force import RULES, Asking, Choice, SharedRules, choose
from router.core.state import State
from router.decide import Policy
from router.model import Configuration, Millis
from router.packed import pack

POLICY = "policy"
"""A key of the meta table: the fingerprint of the rules in force."""
CURSOR = "judging"
"""A key of the meta table: how far firing alerts are judged by the rules. Without this key, all of them are judged."""


class Superseded(Exception):  # noqa: N818  (a state of the rules, not an error)
    """Other rules are in force by now."""


class Phase(StrEnum):
    """The phases in which firing alerts are processed when the rules change, in their order."""

    INDEX = "index"
    """The inhibit rules learn which alerts fire. No destination is notified before this phase ends."""
    JUDGE = "judge"
    """The alerts are judged."""


@dataclass(frozen=True, slots=True)
class AdoptionCursor:
    """The position of a phase. It is stored with each piece, so a new process continues where the last one stopped."""

    phase: Phase
    after: int = 0
    """The id of the last processed alert."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the cursor that :meth:`__str__` wrote."""
        phase, _, after = text.partition(" ")
        return cls(Phase(phase), int(after))

    def __str__(self) -> str:
        return f"{self.phase} {self.after}"


@dataclass(frozen=True, slots=True)
class Adoption:
    """Rules, and what has to be kept after they are replaced."""

    policy: Policy
    destinations: Mapping[str, str] = field(default_factory=dict)
    """By key: each destination as :func:`router.channels.destination_as_json` writes it."""
    fragments: Mapping[str, str] = field(default_factory=dict)
    """The texts of included files in force, by name."""
    asking: Asking = Asking.EXPLICIT
    actor: str = ""
    """See :attr:`router.core.rules_in_force.SharedRules.actor`."""
    replica: str = ""
    """The name of this replica."""
    unserved: str = ""
    """See :func:`router.core.rules_in_force.choose`."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """The result of asking to judge by rules."""

    choice: Choice
    rules: SharedRules
    """The rules that are in force now."""
    left: Phase | None = None
    """The phase that is left to do, see :func:`cursor`; None: nothing is left."""


def known_fragments(state: State) -> dict[str, str]:
    """Return the texts of the included files in force, by name."""
    return {row.name: row.text for row in state.fragments.of(ALL, ())}


def rules_in_force(state: State) -> SharedRules | None:
    """Return the rules in force; None: there were never any."""
    fingerprint, kept = state.meta.get(POLICY), state.meta.get(RULES)
    return SharedRules.read(
        None if fingerprint is None else fingerprint.value, None if kept is None else kept.value
    )


def adopt_rules(state: State, adoption: Adoption, now: Millis) -> Adopted:
    """Put rules in force, or join those in force, and open the slots of digests. If the rules differ from the last ones, all
    firing alerts are to be judged by them. If other rules are to stay in force, change nothing.
    """
    mine, before = adoption.policy, rules_in_force(state)
    choice = choose(
        mine.fingerprint, before, adoption.asking, is_alone=state.head.is_alone, unserved=adoption.unserved
    )
    if before is not None and choice is Choice.WAIT:
        return Adopted(choice, before)
    new = SharedRules(mine.fingerprint, mine.configuration.sha256, now, adoption.actor, adoption.replica)
    rules = new if before is None else before.replaced_by(new)
    if before is not None and (
        choice is Choice.JOIN or (before.fingerprint, before.sha256) == (new.fingerprint, new.sha256)
    ):
        rules = before
    _keep_fragments(state, adoption.fragments)
    _keep_configuration(state, mine.configuration, now)
    for key, options in adoption.destinations.items():
        state.destinations.put(DestinationRow(key, options))
    state.conversations.want("open slots", ("open",))
    state.ready()
    close_slots(state, adoption.policy, now)
    open_slots(state, adoption.policy, now)
    if rules != before:
        state.meta.put(MetaRow(RULES, str(rules)))
    if before is None or before.fingerprint != mine.fingerprint:
        state.meta.put(MetaRow(POLICY, mine.fingerprint))
        save_cursor(state, AdoptionCursor(Phase.INDEX))
    left = cursor(state, mine)
    return Adopted(choice, rules, None if left is None else left.phase)


def cursor(state: State, policy: Policy) -> AdoptionCursor | None:
    """Return where the judging of firing alerts continues; None: all are judged. :raises Superseded: other rules apply"""
    in_force = state.meta.get(POLICY)
    if in_force is not None and in_force.value != policy.fingerprint:
        raise Superseded
    row = state.meta.get(CURSOR)
    return None if row is None else AdoptionCursor.read(row.value)


def save_cursor(state: State, to: AdoptionCursor | None) -> None:
    """Save the cursor. :param to: the cursor; None: all alerts are judged"""
    row = state.meta.get(CURSOR)
    if to is not None:
        state.meta.put(MetaRow(CURSOR, str(to)))
    elif row is not None:
        state.meta.remove(row)


def following(at: AdoptionCursor, last: int) -> AdoptionCursor | None:
    """Return the cursor after a piece. :param last: the last id of the piece; 0: the phase has ended"""
    if last:
        return AdoptionCursor(at.phase, last)
    return AdoptionCursor(Phase.JUDGE) if at.phase is Phase.INDEX else None


def reindex(state: State, policy: Policy, ids: Sequence[int]) -> None:
    """Update the levels of alerts, and what they inhibit, by the rules."""
    state.alerts.want("id", ids)
    state.inhibitors.want("alert", ids)
    state.ready()
    for alert in firing_rows(state, ids):
        level, _ = policy.severity.of(labels_of(alert))
        state.alerts.put(alert._replace(level=level))
        for each in state.inhibitors.of("alert", alert.id):
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
    """Save the configuration: decisions refer to it by id."""
    if configuration.id is not None:
        positions = pack(json.dumps(dict(configuration.positions), separators=(",", ":")).encode())
        state.configurations.put(ConfigurationRow(configuration.id, configuration.sha256, now, positions))


def retire(state: State, policy: Policy, still_notified: frozenset[str]) -> dict[str, str]:
    """Return the destinations that the rules no longer name and that are still to be notified of an end: their texts by
    key. Other destinations that the rules do not name are deleted.

    :param still_notified: the keys of destinations that were notified of an alert whose end is still to be sent
    """
    gone: dict[str, str] = {}
    for row in state.destinations.of(ALL, ()):
        if row.key in policy.destinations:
            continue
        if row.key in still_notified:
            gone[row.key] = row.options
        else:
            state.destinations.remove(row)
    return gone
