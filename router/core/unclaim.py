"""Undoing a claim of which nothing was sent: the conversation is due again, as before the claim."""

from router.core.claim import take_back
from router.core.claimed_delivery import ClaimedDelivery
from router.core.conversations import close, close_if_empty
from router.core.fencing import is_fenced
from router.core.record import revert_notified
from router.core.state import State
from router.decide import Policy
from router.model import Millis, Retry

NOT_BEGUN = Retry("not begun")
"""The outcome of a claim that is undone."""


def undo_claim(state: State, work: ClaimedDelivery, policy: Policy, now: Millis) -> None:
    """Undo a claim. Changes that were accepted since then stay. A claim that has an outcome is left as it is.

    :param work: a claim, or a conversation that a claimed storm absorbed
    """
    if is_fenced(state, work) or state.conversations[work.id].delivery_id is None:
        return
    row = take_back(state, work)
    if not work.is_storm:
        revert_notified(state, work, policy, now)
        close_if_empty(state, work.id)
    elif not row.own_message:  # no message of the storm was sent
        close(state, row.id)
