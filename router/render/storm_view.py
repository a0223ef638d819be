"""The variables of a template about a storm. Every string in them is escaped already."""

from collections.abc import Sequence
from typing import Any

from router.model import StormLine, StormView
from router.render.folding import Fold, fold
from router.render.formatter import EMOJI, Formatter
from router.render.words import counted, web_address

# How many folds the subject of a storm names.
_MAX_FOLDS_IN_SUBJECT = 3


def storm_values(storm: StormView, formatter: Formatter) -> dict[str, Any]:
    """Return the variables for a storm; see docs/templates.md."""
    news = storm.news
    changed = [*news.firing, *news.eased, *news.resolved]
    worst = storm.lines or changed
    address = next((base for each in worst if (base := web_address(each.external_url))), "")
    rank = min((formatter.rank(each.level) for each in worst), default=len(formatter.levels) - 1)
    return {
        "status": "resolved" if storm.over else "firing",
        "level": formatter.text(formatter.levels[rank]),
        "rank": rank,
        "color": (color := formatter.color(rank, over=storm.over)),
        "emoji": EMOJI[color],
        "groups": storm.groups,
        "total": storm.alerts,
        "resolved": storm.resolved,
        "over": storm.over,
        "more": storm.more,
        "standing": _folds(formatter, storm.lines),
        "unlisted": storm.groups - len(storm.lines),
        "new_firing": _folds(formatter, news.firing),
        "new_eased": _folds(formatter, news.eased),
        "new_resolved": _folds(formatter, news.resolved),
        "new_counts": {
            "firing": len(news.firing), "eased": len(news.eased), "resolved": len(news.resolved),
        },
        "names": {
            name: counted([each.what for each in _folds(formatter, lines)], _MAX_FOLDS_IN_SUBJECT)
            for name, lines in (
                ("standing", storm.lines), ("firing", news.firing), ("eased", news.eased),
                ("resolved", news.resolved),
            )
        },
        "link": formatter.address(f"{address.rstrip('/')}/#/alerts" if address else ""),
    }  # fmt: skip


def _folds(formatter: Formatter, lines: Sequence[StormLine]) -> tuple[Fold, ...]:
    return fold(lines, formatter.rank, formatter.escape)
