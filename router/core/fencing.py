"""Fencing: a claim that another replica has taken over records nothing any more, and no outcome is recorded twice."""

from router.core.claimed_delivery import ClaimedDelivery
from router.core.rows import INTERRUPTED
from router.core.state import State
from router.model import Outcome


def is_fenced(state: State, work: ClaimedDelivery) -> bool:
    """Return whether a claim is no longer the one that is under way for its conversation: another replica has taken over, or
    its outcome is recorded already.
    """
    row = state.conversations.get(work.id)
    return row is None or work.under_way_as not in (0, row.delivery_id)


def record_late(state: State, work: ClaimedDelivery, outcome: Outcome) -> bool:
    """Note in the log of deliveries that an answer came after another replica had taken over, which sends the same again.

    :returns: False: the outcome is recorded already, and nothing is noted
    """
    delivery = state.deliveries.get(work.delivery)
    if delivery is None or delivery.outcome != INTERRUPTED:
        return False
    said = type(outcome).__name__.lower()
    state.deliveries.put(
        delivery._replace(reason=f"the answer came after another replica had taken over: {said}")
    )
    return True
