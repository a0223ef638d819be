"""Taking a claim back, as long as nothing of it was sent: the conversation is due again, as if nobody had claimed it."""

from router.core.claim import Work, take_back
from router.core.conversations import close, close_if_empty
from router.core.record import revert_notified
from router.core.state import State
from router.decide import Policy
from router.model import Millis, Retry

NOT_BEGUN = Retry("not begun")
"""What a claim that is taken back came to."""


def undo_claim(state: State, work: Work, policy: Policy, now: Millis) -> None:
    """What became known meanwhile stays. A claim that has come to an outcome meanwhile stays as well.

    :param work: a claim, or a part of a storm's
    """
    under_way = state.conversations[work.id].delivery_id
    if under_way is None or work.delivery not in (0, under_way):  # a part has no delivery of its own
        return
    row = take_back(state, work)
    if not work.is_storm:
        revert_notified(state, work, policy, now)
        close_if_empty(state, work.id)
    elif not row.own_message:  # nobody has heard of the storm
        close(state, row.id)
