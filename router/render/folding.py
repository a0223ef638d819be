"""Folds the alert groups of a storm into lines like "HostDown x 250: n0, n1, …", which name every group."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from router.model import Labels, StormLine
from router.render.words import clip, line

_NAME_LABEL = "alertname"
_MAX_NAME_CHARS = 200
"""Characters of a name, and of the labels that say where."""
_MAX_ALERT_NAMES = 3
"""How many names of alerts a group is called by if it has no ``alertname`` itself."""
# Characters around a name: the count, brackets, commas; and between two names.
_FRAME_CHARS, _SEPARATOR_CHARS = 24, 3


@dataclass(frozen=True, slots=True)
class Fold:
    """Groups of one level and name. All groups of a level that have nothing but a name are one fold, without a title."""

    level: str
    rank: int
    """0 for the most urgent level."""
    title: str
    scope: str
    """The labels that all groups share, without the name: ``cluster=eu-1``."""
    by: str
    """The names of the labels that differ between the groups, if these are several: ``cluster/instance``."""
    names: tuple[str, ...]
    """For each group, the values of the labels that differ; empty: there is one group, or none differ."""
    count: int

    @property
    def what(self) -> str:
        """The title and the count, like ``HostDown x 250``; without a title, the first names."""
        if not self.title:
            more = self.count - _MAX_ALERT_NAMES
            return ", ".join(self.names[:_MAX_ALERT_NAMES]) + (f" and {more} more" if more > 0 else "")
        return self.title + (f" \N{MULTIPLICATION SIGN} {self.count}" if self.count > 1 else "")

    @property
    def text(self) -> str:
        """One line that names every group."""
        names = ", ".join(self.names)
        if not self.title:
            return f"[{self.level}] {names}"
        where = f" ({self.scope})" if self.scope else ""
        by = f" by {self.by}" if self.by else ""
        return f"[{self.level}] {self.what}{where}{by}" + (f": {names}" if names else "")


def fold(
    lines: Iterable[StormLine], rank: Callable[[str], int], escape: Callable[[str], str]
) -> tuple[Fold, ...]:
    """Return the folds of these groups, in the order of their first group.

    :param rank: of a level
    :param escape: makes text safe for the channel
    """
    together: dict[tuple[str, str], list[Labels]] = {}
    for each in lines:
        together.setdefault(key_of(each), []).append(_where(each))
    folds: dict[tuple[str, str], Fold] = {}
    bare: dict[str, list[str]] = {}
    for (level, title), several in together.items():
        shared = dict(set.intersection(*(set(where.items()) for where in several)))
        apart = sorted({name for where in several for name in where} - shared.keys())
        key = (level, title) if len(several) > 1 or shared else (level, "")
        if not key[1]:
            bare.setdefault(level, []).append(escape(title))
        folds[key] = Fold(
            level=escape(line(level)), rank=rank(level), title=escape(key[1]), scope=escape(_pairs(shared)),
            by=escape(clip(line("/".join(apart)), _MAX_NAME_CHARS)) if len(apart) > 1 else "",
            names=tuple(escape(_values(where, apart)) for where in several) if apart else (), count=len(several),
        )  # fmt: skip
    for level, names in bare.items():
        folds[level, ""] = replace(folds[level, ""], names=tuple(names), count=len(names))
    return tuple(folds.values())


def room_of(each: StormLine, *, begins: bool) -> int:
    """Return how many characters a group takes in a message at most, escaped for Slack or HTML.

    :param begins: it is the first group of its fold
    """
    where = _where(each)
    room = _escaped("/".join(where.values())) + _SEPARATOR_CHARS
    if begins:
        room += _escaped(_title(each)) + _SEPARATOR_CHARS
    if begins and where:
        pairs = ", ".join(map("=".join, where.items()))
        room += _FRAME_CHARS + _escaped(each.level) + _escaped(pairs) + _escaped("/".join(where))
    return room


def _escaped(text: str) -> int:
    """Return how many characters a text has at most, once it is clipped and escaped."""
    return min(len(text) + 4 * sum(map(text.count, "&<>\"'")), 5 * _MAX_NAME_CHARS)


def key_of(each: StormLine) -> tuple[str, str]:
    """Return the key that all groups of a fold share."""
    return each.level, _title(each)


def _title(each: StormLine) -> str:
    name = each.labels.get(_NAME_LABEL) or ", ".join(each.names[:_MAX_ALERT_NAMES])
    if len(each.names) > _MAX_ALERT_NAMES and not each.labels.get(_NAME_LABEL):
        name += " …"
    return clip(line(name), _MAX_NAME_CHARS) or ("Alerts" if _where(each) else "Unnamed group")


def _where(each: StormLine) -> Labels:
    """Return what says where a group is: all its labels but the name, and its source, if one is named."""
    found = {name: value for name, value in each.labels.items() if name != _NAME_LABEL and value}
    if each.source:
        found["from source" if "source" in found else "source"] = each.source
    return found


def _pairs(where: Labels) -> str:
    return clip(line(", ".join(f"{name}={where[name]}" for name in sorted(where))), _MAX_NAME_CHARS)


def _values(where: Labels, names: Iterable[str]) -> str:
    return clip(line("/".join(where[name] for name in names if name in where)), _MAX_NAME_CHARS) or "-"
