"""What matters in a digest in few words: its headline, how many alerts there are by level, and about each section."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.model import DigestLine, DigestView, Millis, Status
from router.render.digest_groups import DigestGroup
from router.render.digest_lines import SECTION_TITLES
from router.render.formatter import EMOJI, Formatter
from router.render.words import clip, moment, when

NEVER_NOTIFIED = "ended before anyone was notified"
"""The usual note of an alert that became obsolete. The heading of the section says it once."""
_MAX_NAMES, _MAX_NAME_CHARS = 3, 60
_WORDS = {name: title.lower() for name, title in SECTION_TITLES.items() if name != "firing"}


@dataclass(frozen=True, slots=True)
class DigestLevel:
    """How many alerts of one level a digest has."""

    level: str
    rank: int
    """0 for the most urgent level."""
    color: str
    emoji: str
    counts: str
    """In words: ``13 firing (5 new), 1 held``. An alert that flaps and fires now counts as both."""


def headline_of(digest: DigestView, groups: Mapping[str, Sequence[DigestGroup]], formatter: Formatter) -> str:
    """Return one line: how many fire by level, the names of the worst, and how many are in other states.

    :param groups: those of each list of the digest
    """
    firing = _firing(digest)
    parts = [
        f"{len(getattr(digest, name))} {words}" for name, words in _WORDS.items() if getattr(digest, name)
    ]
    if firing:
        levels = Counter((formatter.rank(each.level), formatter.line(each.level)) for each in firing)
        counts = ", ".join(f"{count} {level}" for (_, level), count in sorted(levels.items()))
        parts.insert(0, f"{counts} firing{_new(sum(each.is_new for each in firing))}")
    if not parts:
        return "all quiet"
    fires = [each for name in ("firing", "flapping") for each in groups.get(name, ()) if each.firing]
    others = next((groups[name] for name in _WORDS if name in groups), ())
    worst = sorted(fires, key=lambda each: each.rank) or others
    names = [clip(each.what, _MAX_NAME_CHARS) for each in worst[:_MAX_NAMES]]
    parts[0] += f": {', '.join(names)}{', …' * (len(worst) > len(names))}"
    return "; ".join(filter(None, [parts[0], ", ".join(parts[1:])]))


def levels_of(digest: DigestView, formatter: Formatter) -> tuple[DigestLevel, ...]:
    """Return how many alerts of each level there are, the most urgent level first."""
    counts: dict[tuple[int, str], Counter[str]] = {}
    for name in SECTION_TITLES:
        for each in getattr(digest, name):
            states = counts.setdefault((formatter.rank(each.level), each.level), Counter())
            if name in ("firing", "flapping") and each.alert.status is Status.FIRING:
                states["firing"] += 1
                states["new"] += each.is_new
            if name != "firing":
                states[name] += 1
    levels = []
    for (rank, level), states in sorted(counts.items(), key=lambda each: each[0]):
        firing = [f"{states['firing']} firing{_new(states['new'])}"] if states["firing"] else []
        others = [f"{states[name]} {words}" for name, words in _WORDS.items() if states[name]]
        color = formatter.color(rank, over=False)
        levels.append(
            DigestLevel(formatter.line(level), rank, color, EMOJI[color], ", ".join([*firing, *others]))
        )
    return tuple(levels)


def color_of(digest: DigestView, formatter: Formatter) -> str:
    """Return the colour of the most urgent level of which an alert fires, held ones included; green if none fires."""
    ranks = [formatter.rank(each.level) for each in (*_firing(digest), *digest.held)]
    return formatter.color(min(ranks, default=0), over=not ranks)


def about_section(name: str, lines: Sequence[DigestLine], until: Millis, formatter: Formatter) -> str:
    """Return further words for the heading of a section: how many are new, and when the first held alert is sent.

    :param name: of its list in the digest
    :param until: the end of the digest's period (epoch ms)
    """
    if name == "obsolete":
        return NEVER_NOTIFIED
    new = sum(each.is_new for each in lines)
    parts = ["fired again and again"] if name == "flapping" else []
    if new or name == "firing":
        every = "all new" if len(lines) > 1 else "new"
        parts.append(every if new == len(lines) else f"{new} new" if new else "none new")
    openings = [each.opens_at for each in lines if each.opens_at is not None]
    if openings:
        opening, now = (moment(at, formatter.zone) for at in (min(openings), until))
        parts.append(f"next opening {when(opening, now)}")
    return ", ".join(parts)


def _firing(digest: DigestView) -> list[DigestLine]:
    return [each for each in (*digest.firing, *digest.flapping) if each.alert.status is Status.FIRING]


def _new(count: int) -> str:
    return f" ({count} new)" if count else ""
