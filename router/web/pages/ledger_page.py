"""The page of the ledger."""

from zoneinfo import ZoneInfo

from aiohttp import web

from router.web.api.ledger_accounts import SHOW_LEDGER, LedgerAnswer
from router.web.app_context import APP_CONTEXT
from router.web.pages.moment_fields import field_moment
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page

FATES = ("delivered", "pending", "held", "inhibited", "digest", "obsolete", "dropped", "dead")
_MAX_DESTINATIONS = 200


async def _ledger(request: web.Request) -> web.Response:
    context = request.app[APP_CONTEXT]
    zone, now = ZoneInfo(context.config().timezone), context.clock.now()
    given = {name: request.query.get(name, "").strip() for name in ("since", "until")}
    moments = {name: field_moment(name, text, zone, now) for name, text in given.items() if text}
    answer = await ask(request, SHOW_LEDGER, moments)
    rows = _rows(answer)
    values = {
        "ledger": answer, "fates": FATES, "rows": rows[:_MAX_DESTINATIONS], "hidden": max(0, len(rows) - _MAX_DESTINATIONS),
        "outcomes": sorted({outcome for counts in answer.deliveries.values() for outcome in counts}),
        "given": given, "is_period": bool(moments),
    }  # fmt: skip
    return await render(request, "ledger.html", values, active="ledger")


def _rows(answer: LedgerAnswer) -> list[tuple[str, int, dict[str, int]]]:
    """Return the destinations with the number and the fates of their changes: those with open or dead ones first."""

    def urgency(row: tuple[str, int, dict[str, int]]) -> tuple[int, int, int, str]:
        name, total, counts = row
        return -counts.get("dead", 0), -counts.get("pending", 0), -total, name

    rows = [(name, sum(counts.values()), counts) for name, counts in answer.by_destination.items()]
    return sorted(rows, key=urgency)


ROUTES = (page("/ledger", _ledger),)
