"""Beginning under rules: at a start, and whenever they are loaded anew."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import Millis
from router.store.accept import index_inhibitor
from router.store.alert import labels_of
from router.store.digests import close_slots, open_slots
from router.store.place import reconsider
from router.store.schema import (
    alerts,
    conversations,
    destinations,
    fragments,
    inhibitors,
    members,
    meta,
)
from router.store.writer import Statement, Transaction, among, insert

_FIRING = Statement(sa.select(alerts).where(alerts.c.status == "firing"))
_SET_LEVEL = Statement(sa.update(alerts).where(alerts.c.id == p("alert")).values(level=p("level_")))
_FORGET_INHIBITORS = Statement(sa.delete(inhibitors))
_GET_META = Statement(sa.select(meta.c.value).where(meta.c.key == p("key")))
_DROP_META = Statement(sa.delete(meta).where(meta.c.key == p("key")))
_ADD_META = Statement(insert(meta, omit=()))
_FRAGMENTS = Statement(sa.select(fragments))
_FORGET_FRAGMENTS = Statement(sa.delete(fragments))
_KEEP_FRAGMENT = Statement(insert(fragments, omit=()))
_DESTINATIONS = Statement(sa.select(destinations))
_FORGET_DESTINATION = Statement(sa.delete(destinations).where(destinations.c.key == p("key")))
_KEEP_DESTINATION = Statement(insert(destinations, omit=()))
_KNOWS_SOMETHING = Statement(
    sa.select(conversations.c.id)
    .join(members, members.c.conversation_id == conversations.c.id)
    .where(
        conversations.c.destination == p("destination"),
        conversations.c.state == "open",
        among(members.c.told, ("firing", "maybe")),
    )
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Adoption:
    """What comes with the rules and has to outlast them."""

    policy: Policy
    destinations: Mapping[str, str] = field(default_factory=dict)
    """How each destination is reached, by key."""
    fragments: Mapping[str, str] = field(default_factory=dict)
    """Included files in force, by name."""


def adopt(tx: Transaction, adoption: Adoption, now: Millis) -> dict[str, str]:
    """Digests have their slots; if the rules differ from the last ones, whatever fires is judged by the new ones.

    Returns how to reach the destinations that the rules name no more, and that have yet to be told of an end.
    """
    policy = adoption.policy
    _keep_fragments(tx, adoption.fragments)
    close_slots(tx, policy, now)
    open_slots(tx, policy, now)
    last = tx.one(_GET_META, key="policy")
    if last is None or last["value"] != policy.fingerprint:
        tx.run(_DROP_META, key="policy")
        tx.run(_ADD_META, key="policy", value=policy.fingerprint)
        _judge_anew(tx, policy, now)
    return _keep_destinations(tx, adoption)


def known_fragments(tx: Transaction) -> dict[str, str]:
    return {row["name"]: row["text"] for row in tx.all(_FRAGMENTS)}


def _judge_anew(tx: Transaction, policy: Policy, now: Millis) -> None:
    firing = tx.all(_FIRING)
    tx.run(_FORGET_INHIBITORS)
    for alert in firing:
        labels = dict(labels_of(alert))
        level, _ = policy.severity.of(labels)
        if level != alert["level"]:
            tx.run(_SET_LEVEL, alert=alert["id"], level_=level)
        index_inhibitor(tx, policy, alert)
    for alert in firing:
        reconsider(tx, policy, alert["id"], now)


def _keep_fragments(tx: Transaction, texts: Mapping[str, str]) -> None:
    if known_fragments(tx) != texts:
        tx.run(_FORGET_FRAGMENTS)
        for name, text in texts.items():
            tx.run(_KEEP_FRAGMENT, name=name, text=text)


def _keep_destinations(tx: Transaction, adoption: Adoption) -> dict[str, str]:
    kept = {row["key"]: row["options"] for row in tx.all(_DESTINATIONS)}
    gone: dict[str, str] = {}
    for key, options in kept.items():
        if key not in adoption.policy.destinations and tx.one(_KNOWS_SOMETHING, destination=key) is not None:
            gone[key] = options
        elif adoption.destinations.get(key) != options:
            tx.run(_FORGET_DESTINATION, key=key)
    for key, options in adoption.destinations.items():
        if kept.get(key) != options:
            tx.run(_KEEP_DESTINATION, key=key, options=options)
    return gone
