"""Doubts: a reported firing that contradicts a recent end counts as a firing if no other end is reported in time.

:func:`router.core.reduce.reduce_alert` has the rule that makes a doubt.
"""

from collections.abc import Sequence
from functools import partial

from router.core.accept import Receipt, merged
from router.core.alerts import doubt_of
from router.core.conclusions import ALERTS_PER_BATCH, LASTING, accept_concluded
from router.core.rows import AlertRow
from router.core.state import State
from router.decide import Policy
from router.model import Millis


def settle_doubts(
    state: State, ids: Sequence[int], policy: Policy, now: Millis
) -> tuple[dict[str, Receipt], Millis | None]:
    """Count an alert as firing if its doubt has lasted for the peer lag: no other end was reported.

    Handles about :data:`ALERTS_PER_BATCH` pairs of alert and group.

    :param ids: the ids of alerts whose doubt may have lasted for that long
    :returns: the receipts by source; and when the first doubt that is left will have lasted that long (epoch ms; None:
        none is left)
    """
    lasting: list[AlertRow] = []
    webhooks = 0
    left: Millis | None = None
    for id_ in ids:
        row = state.alerts.get(id_)
        found = None if row is None else doubt_of(row)
        if row is None or found is None or found[0].until > now:
            continue
        if webhooks >= ALERTS_PER_BATCH:
            left = found[0].until
            break
        webhooks += len(found[1])
        lasting.append(row)
    receipts = state.run_all(partial(settle_doubt, state, row, LASTING, policy, now) for row in lasting)
    settled: dict[str, Receipt] = {}
    for row, receipt in zip(lasting, receipts, strict=True):
        settled[row.source] = merged(settled.get(row.source, Receipt()), receipt)
    return settled, left


def settle_doubt(state: State, row: AlertRow, note: str, policy: Policy, now: Millis) -> Receipt:
    """Accept a doubted firing in every group that reported it. :param note: the conclusion, for the body that is kept"""
    found = doubt_of(row)
    if found is None:
        return Receipt()
    doubt, reported_by = found
    state.groups.want("id", reported_by)
    state.ready()
    groups = [each for each in reported_by if state.groups.get(each) is not None] or [row.group_id]
    return accept_concluded(
        state, [(row.source, group, doubt.alert) for group in groups], "", note, policy, now
    )
