"""When a conversation is given up, or some of its recipients. Pure."""

from dataclasses import replace

from router.model import LATE, Broken, Delivered, Millis, Outcome, Rejected, Retry
from router.render.words import duration


def final_outcome(give_up_after: Millis, failure: Retry | Broken) -> Delivered | Rejected:
    """Return the outcome that replaces a failure when it has lasted for ``give_up_after``. If some recipients have the
    message, only the others are given up.
    """
    after = f"given up after {duration(give_up_after)}: "
    if isinstance(failure, Retry) and failure.late:
        late = tuple(replace(each, reason=after + each.reason) for each in failure.late)
        remote = {name: value for name, value in (failure.remote or {}).items() if name != LATE}
        return Delivered(remote, failure.refused + late)
    return Rejected(after + failure.reason, failure.ambiguous, failure.words)


class ContentSuspects:
    """Conversations whose refusal looked like a broken destination, while other conversations were delivered after it.

    If such a conversation is refused in this way again, its content is the cause: for example, a spam filter refuses the
    words of a mail. It is given up, so that it does not hold up the others.
    """

    def __init__(self) -> None:
        self._refused: set[int] = set()
        """Ids of conversations that were refused since the last successful delivery."""
        self._suspects: set[int] = set()
        """Ids of conversations that were refused before the last successful delivery."""

    def reclassify(self, conversation: int, outcome: Outcome) -> Outcome:
        """Return the outcome of an attempt as it counts: a suspect that is refused again is rejected."""
        if isinstance(outcome, Delivered) and outcome.reached:
            self._suspects = (self._suspects | self._refused) - {conversation}
            self._refused.clear()
        if not isinstance(outcome, Broken) or not outcome.by_content:
            return outcome
        if conversation in self._suspects:
            self._suspects.discard(conversation)
            return Rejected(outcome.reason, words=outcome.words)
        self._refused.add(conversation)
        return outcome
