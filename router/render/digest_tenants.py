"""A digest by tenant: how many alerts each tenant has in each state, and the names of the worst."""

from collections import Counter
from dataclasses import dataclass

from router.model import DigestLine, DigestView, Status
from router.render.digest_lines import SECTION_TITLES
from router.render.formatter import EMOJI, Formatter
from router.render.words import clip

_MAX_TENANTS = 50
_MAX_NAMES, _MAX_NAME_CHARS = 3, 60
_WORDS = {name: title.lower() for name, title in SECTION_TITLES.items() if name != "firing"}


@dataclass(frozen=True, slots=True)
class DigestTenant:
    """The alerts of one tenant in a digest."""

    tenant: str
    rank: int
    """That of its most urgent alert; 0 for the most urgent level."""
    color: str
    """As of a message: the colour of the most urgent level that fires; green if none does."""
    emoji: str
    counts: str
    """In words: ``13 firing (5 new), 1 held``."""
    names: str
    """The names of its most urgent alerts: ``DiskFull, HostDown, …``."""


def tenants_of(digest: DigestView, formatter: Formatter) -> tuple[DigestTenant, ...]:
    """Return the tenants that have alerts in a digest, those with the most urgent ones first; empty: none are configured."""
    lines: dict[str, list[tuple[str, DigestLine]]] = {}
    for name in SECTION_TITLES:
        for each in getattr(digest, name):
            if each.tenant:
                lines.setdefault(each.tenant, []).append((name, each))
    found = [_tenant(tenant, several, formatter) for tenant, several in lines.items()]
    return tuple(sorted(found, key=lambda each: (each.rank, each.tenant))[:_MAX_TENANTS])


def _tenant(tenant: str, lines: list[tuple[str, DigestLine]], formatter: Formatter) -> DigestTenant:
    states: Counter[str] = Counter()
    for name, each in lines:
        if name in ("firing", "flapping") and each.alert.status is Status.FIRING:
            states["firing"] += 1
            states["new"] += each.is_new
        if name != "firing":
            states[name] += 1
    new = f" ({states['new']} new)" if states["new"] else ""
    counts = [f"{states['firing']} firing{new}"] if states["firing"] else []
    counts += [f"{states[name]} {words}" for name, words in _WORDS.items() if states[name]]
    fires = [each for name, each in lines if name == "held" or each.alert.status is Status.FIRING]
    ranks = [formatter.rank(each.level) for each in fires]
    worst = sorted(
        (each for _, each in lines), key=lambda each: (each not in fires, formatter.rank(each.level))
    )
    names = list(dict.fromkeys(each.alert.labels.get("alertname", "") for each in worst))
    shown = [clip(each, _MAX_NAME_CHARS) for each in names[:_MAX_NAMES] if each]
    color = formatter.color(min(ranks, default=0), over=not ranks)
    return DigestTenant(
        formatter.line(tenant), min(formatter.rank(each.level) for _, each in lines), color, EMOJI[color],
        ", ".join(counts), formatter.line(", ".join(shown) + (", …" if len(names) > len(shown) else "")),
    )  # fmt: skip
