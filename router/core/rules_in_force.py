"""The rules in force: kept in the database, so that all replicas judge by the same ones. And who may put others in force. Pure."""

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from router.model import Millis

RULES = "rules"
"""A key of the meta table: the :class:`SharedRules` as JSON."""
MAX_FORMER = 100
"""How many fingerprints of former rules are kept. Older rules count as new."""


@dataclass(frozen=True, slots=True)
class SharedRules:
    """The rules by which all replicas judge."""

    fingerprint: str
    """See :attr:`router.decide.Policy.fingerprint`."""
    sha256: str = ""
    """The hash of their files; empty: a version put them in force that did not keep it."""
    at: Millis = 0
    """Since when they are in force (epoch ms)."""
    actor: str = ""
    """Who asked for it: a user, or ``signal``, ``file changed``, ``secret changed``, ``start``, ``no replica agreed``."""
    replica: str = ""
    """The name of the replica that put them in force."""
    former: tuple[str, ...] = ()
    """The fingerprints of rules that were in force before and were replaced, the last one first."""

    @classmethod
    def read(cls, fingerprint: str | None, text: str | None) -> Self | None:
        """Return what is stored; None: no rules were ever in force.

        :param fingerprint: of the rules in force, which each version keeps
        :param text: what :meth:`__str__` wrote; a version without replicas may have put other rules in force since
        """
        if fingerprint is None:
            return None
        kept = {} if text is None else json.loads(text)
        known = cls(**{**kept, "former": tuple(kept["former"])}) if kept else cls(fingerprint)
        return known if known.fingerprint == fingerprint else replace(cls(fingerprint), former=known.former)

    def __str__(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__})

    def replaced_by(self, new: "SharedRules") -> "SharedRules":
        """Return the new rules, with these among the former ones."""
        before = () if self.fingerprint == new.fingerprint else (self.fingerprint,)
        former = [each for each in (*before, *self.former) if each != new.fingerprint]
        return replace(new, former=tuple(former[:MAX_FORMER]))


class Asking(StrEnum):
    """Why a replica wants to judge by its rules."""

    EXPLICIT = "explicit"
    """A person, a signal or a changed file asks for these rules."""
    START = "start"
    """The process starts, or only its secrets have changed."""
    JOINING = "joining"
    """Its files have become those in force."""
    UNSERVED = "unserved"
    """For some time, no replica has agreed with the rules in force. How long, is decided in :mod:`router.rules_watch`."""


class Choice(StrEnum):
    """What becomes of the rules of a replica."""

    PUT = "put in force"
    JOIN = "join"
    """They are in force already."""
    WAIT = "wait"
    """Other rules are in force, and stay so."""


def choose(
    mine: str, in_force: SharedRules | None, asking: Asking, *, is_alone: bool = False, unserved: str = ""
) -> Choice:
    """Choose what becomes of the rules of a replica.

    At a start, rules that were in force before and were replaced are old: the last replica with an old file must not undo a
    rolling update, for example when it crashes and starts again.

    :param mine: the fingerprint of the replica's rules
    :param in_force: None: no rules were ever in force
    :param is_alone: no other process can serve from the database
    :param unserved: if the replica asks because of :attr:`Asking.UNSERVED`: the fingerprint of the rules that no replica
        agrees with
    """
    if in_force is None or is_alone:
        return Choice.PUT
    if mine == in_force.fingerprint:
        return Choice.PUT if asking is Asking.EXPLICIT else Choice.JOIN
    match asking:
        case Asking.EXPLICIT:
            is_put = True
        case Asking.START:
            is_put = mine not in in_force.former
        case Asking.UNSERVED:  # another replica may have put other rules in force just before
            is_put = in_force.fingerprint == unserved
        case Asking.JOINING:
            is_put = False
    return Choice.PUT if is_put else Choice.WAIT
