"""The ledger: every change has one fate at each of its destinations."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from router.model import Millis
from router.store import Integrity
from router.web.api.alert_parameters import Text
from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.api.moment_parameters import read_moment, wrong_parameter
from router.web.app_context import AppContext

_MAX_MOMENT_CHARS = 50


_UTC = ZoneInfo("UTC")


class LedgerQuery(Query):
    """The period of the ledger. Without one, the answer is about all time, and comes from counters."""

    since: Annotated[
        str | None,
        Field(
            max_length=_MAX_MOMENT_CHARS,
            description="Its first moment, like 2026-11-20T22:41Z; UTC without a zone.",
        ),
    ] = None
    until: Annotated[
        str | None, Field(max_length=_MAX_MOMENT_CHARS, description="Its end, which is not part of it.")
    ] = None
    tenant: Annotated[
        Text | None,
        Field(description="Only the changes of this tenant, also of one that is configured no more."),
    ] = None


class WebhookCounts(BaseModel):
    """How many webhooks were received."""

    accepted: int
    quarantined: int


class ChangeCounts(BaseModel):
    """How many changes were accepted."""

    fired: int
    resolved: int
    repeated: int


class WrongChange(BaseModel):
    """A change that has too few or too many fates."""

    change: int
    alert: int = Field(description="The number of its alert.")


class CheckResult(BaseModel):
    """What a check found. Anything is a bug."""

    count: int
    first: list[str] = Field(description="The first ten cases, in words.")


class IntegrityResults(BaseModel):
    """What the last checks found."""

    contradicted_alerts: CheckResult = Field(
        description="Alerts that are resolved here although their sender reports them as firing."
    )
    empty_conversations: CheckResult = Field(description="Open conversations in which nothing fires.")
    miscounted_counters: CheckResult = Field(description="Counters that differ from the sums of their rows.")


class LedgerAnswer(BaseModel):
    """The ledger of a period: ``changes_x_destinations`` is the sum of ``fates``."""

    model_config = ConfigDict(extra="forbid")

    since: Millis | None = Field(
        description="Its first moment; null: the beginning. Earlier than asked for if only sums of whole days are left."
    )
    until: Millis | None = Field(description="Its end; null: now.")
    tenant: str | None = Field(description="Whose changes are counted; null: all.")
    webhooks: WebhookCounts | None = Field(
        description="Null: of a tenant, because a webhook may have alerts of several."
    )
    changes: ChangeCounts
    changes_x_destinations: int = Field(description="How many fates there must be.")
    fates: dict[str, int] = Field(description="How many there are, by fate.")
    by_destination: dict[str, dict[str, int]] = Field(description="The same by the key of the destination.")
    deliveries: dict[str, dict[str, int]] = Field(
        description="Attempts by destination and outcome; empty: of a tenant, because a message may have alerts of several."
    )
    imbalance: int = Field(description="Missing and surplus fates. Anything but zero is a bug.")
    wrong: list[int] = Field(description="The first ten changes that have too few or too many fates.")
    wrong_changes: list[WrongChange] = Field(description="The same, with their alerts.")
    integrity: IntegrityResults | None = Field(
        description="The last checks; null: none has run yet, or the ledger is one of a period or a tenant."
    )


async def show_ledger(context: AppContext, query: LedgerQuery) -> LedgerAnswer:
    since, until = (
        read_moment(context, "since", query.since or None, _UTC),
        read_moment(context, "until", query.until or None, _UTC),
    )
    if since is not None and until is not None and since >= until:
        raise wrong_parameter("until", "it is not after since")
    pages = context.store.pages
    if query.tenant is not None:
        return await _ledger_of_tenant(context, query.tenant, since, until)
    if since is None and until is None:
        checked, counted = context.balance(), await pages.status()
        found: dict[str, Any] = {
            **{name: count for name, count in counted.items() if name != "firing"}, "since": None, "until": None,
            "imbalance": checked.off if checked is not None and checked.off else abs(counted["imbalance"]),
            "wrong": list(checked.changes) if checked is not None else [],
            "integrity": _integrity(context.integrity()),
        }  # fmt: skip
    else:
        found = {**await pages.ledger(since, until), "integrity": None}
    alerts = await pages.alerts_of_changes(found["wrong"]) if found["wrong"] else {}
    wrong = [WrongChange(change=change, alert=alert) for change, alert in alerts.items()]
    return LedgerAnswer(**found, tenant=None, wrong_changes=wrong)


async def _ledger_of_tenant(
    context: AppContext, tenant: str, since: Millis | None, until: Millis | None
) -> LedgerAnswer:
    pages = context.store.pages
    found: dict[str, Any] = {"since": None, "until": None, "wrong": []}
    if since is None and until is None:
        counted = await pages.status_of_tenant(tenant)
        found |= {**counted, "imbalance": abs(counted["imbalance"])}
    else:
        found |= await pages.ledger(since, until, tenant)
    no_webhooks: dict[str, Any] = {"tenant": tenant, "webhooks": None, "deliveries": {}}
    return LedgerAnswer(**{**found, **no_webhooks}, wrong_changes=[], integrity=None)


def _integrity(found: Integrity | None) -> IntegrityResults | None:
    if found is None:
        return None
    return IntegrityResults(
        contradicted_alerts=CheckResult(**found.contradicted.as_json()),
        empty_conversations=CheckResult(**found.empty.as_json()),
        miscounted_counters=CheckResult(**found.miscounted.as_json()),
    )


SHOW_LEDGER = Endpoint(
    "GET", "/api/v1/ledger", show_ledger, LedgerQuery, LedgerAnswer,
    "What became of all changes: of all time, or of a period. Only one period is counted at a time.",
)  # fmt: skip
ENDPOINTS = (SHOW_LEDGER,)
