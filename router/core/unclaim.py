"""Taking a claim back, as long as nothing of it was sent: the conversation is due again, as if nobody had claimed it."""

from router.core.claim import Work
from router.core.conversations import change, close_if_empty
from router.core.record import unnotified
from router.core.state import State
from router.core.storms import withdraw
from router.model import Millis, Retry

NOT_BEGUN = Retry("not begun")
"""What a claim that is taken back came to."""


def unclaim(state: State, work: Work, now: Millis) -> None:
    """The attempt leaves no delivery and does not count. What became known meanwhile stays. A generation that the claim
    gave out stays as well, because none is given out twice.

    :param work: a claim, or a part of a storm's
    """
    if work.is_storm:
        withdraw(state, work)
        return
    delivery = state.deliveries.get(work.delivery)
    if delivery is not None:  # a part has none
        state.deliveries.remove(delivery)
    row, before = state.conversations[work.id], work.before
    if before is not None:
        row = row._replace(revision=before.revision, tried_since=before.tried_since, storm_id=before.storm_id)
    change(state, row, delivery_id=None)
    unnotified(state, work, now)
    close_if_empty(state, work.id)
