"""Checks what providers accepted against what senders were answered 200 for, exactly.

A sender numbers the states of a group. Each message says which state it is about, because every alert's summary holds the
number. A message about an end may not say it (PagerDuty's resolve has only a key), or name an older state; then it is about the
first end that fits.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from router.model import Millis


@dataclass(frozen=True, slots=True)
class State:
    """A group as its sender reported it."""

    version: int
    firing: frozenset[str]
    """The instances that fire. If there is none, the group has ended."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a provider accepted."""

    destination: str
    group: str
    conversation: str
    """What people see as one: an incident of PagerDuty, a message of Slack with its thread, a single mail."""
    version: int | None
    """The newest state that its text names; None: it names none."""
    firing: int
    """How many alerts fire, by its text."""
    at: Millis


@dataclass(frozen=True, slots=True)
class Findings:
    problems: list[str]
    repeats: Counter[str]
    """How many messages said again what the one before had said, by destination."""


_OneGroup = tuple[str, str, Sequence[State], Sequence[Message]]


def check(histories: Mapping[str, Sequence[State]], messages: Sequence[Message], merging: str) -> Findings:
    """Compare all messages, in the order in which they were accepted, with the states that were accepted by group.

    :param merging: the destination that recognizes repeats, and so must have one conversation for an episode of a group, from
        its first firing alert to the end of its last one
    """
    problems = [
        f"{each.destination} got a message about {each.group!r}, which nobody reported"
        for each in messages
        if each.group not in histories
    ]
    repeats: Counter[str] = Counter()
    for destination in sorted({each.destination for each in messages}):
        for group, states in sorted(histories.items()):
            about = [each for each in messages if (each.destination, each.group) == (destination, group)]
            where = f"{destination}, {group}"
            seen: list[int] = []
            problems += [f"{where}: {problem}" for problem in _order(states, about, seen)]
            problems += [f"{where}: {problem}" for problem in _end(states, seen)]
            if destination == merging:
                problems += [f"{where}: {problem}" for problem in _episodes(states, about, seen)]
            repeats[destination] += sum(now == before for before, now in itertools.pairwise(seen))
    return Findings(problems, +repeats)


def missing(
    histories: Mapping[str, Sequence[State]],
    messages: Sequence[Message],
    destinations: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return the groups whose last state a destination does not know, because it never got a message about them.

    :param destinations: the destinations of each group
    """
    known = {(each.destination, each.group) for each in messages}
    return [
        f"{destination}, {group}: no message, but {sorted(states[-1].firing)} fire"
        for group, states in sorted(histories.items())
        for destination in destinations[group]
        if states and states[-1].firing and (destination, group) not in known
    ]


def _order(states: Sequence[State], messages: Sequence[Message], seen: list[int]) -> Iterator[str]:
    """Yield what is out of order. :param seen: gets the position of the state that each message is about"""
    positions = {each.version: number for number, each in enumerate(states)}
    at = 0
    for message in messages:
        position = at if message.version is None else positions.get(message.version)
        if position is None:
            yield f"state {message.version} was never reported"
            continue
        if not message.firing:
            # It names no alert that began and ended unseen, so the end may be a later state than the newest that it names.
            ends = (number for number in range(position, len(states)) if not states[number].firing)
            position = next(ends, None)
            if position is None:
                yield f"an end without one after state {message.version or states[at].version}"
                continue
        if position < at:
            yield f"state {message.version} came after state {states[at].version}"
            continue
        if message.firing != len(states[position].firing):
            yield f"{message.firing} fire in the message about state {states[position]}"
        seen.append(position)
        at = position


def _end(states: Sequence[State], seen: Sequence[int]) -> Iterator[str]:
    """Yield that the last message is about another state than the last one. That there is none finds :func:`missing`."""
    if seen and states[seen[-1]].firing != states[-1].firing:
        yield f"the last message is about state {states[seen[-1]].version}, and the last state is {states[-1]}"


def _episodes(states: Sequence[State], messages: Sequence[Message], seen: Sequence[int]) -> Iterator[str]:
    """Yield episodes with several conversations."""
    if len(seen) != len(messages):
        return  # what is out of order was reported
    episodes, number = [], 0
    for before, now in zip([frozenset[str](), *(each.firing for each in states)], states, strict=False):
        number += not before and bool(now.firing)
        episodes.append(number)
    keys: dict[int, set[str]] = {}
    for message, position in zip(messages, seen, strict=True):
        if message.firing:
            keys.setdefault(episodes[position], set()).add(message.conversation)
    for episode, found in keys.items():
        if len(found) > 1:
            yield f"episode {episode} has {len(found)} conversations: {sorted(found)}"
