"""When to give up what can't be told, and whom: the conversation, some recipients of it, or nobody yet. Pure."""

from dataclasses import replace

from router.model import LATE, Broken, Delivered, Millis, Outcome, Rejected, Retry
from router.render.words import duration


def given_up(patience: Millis, failure: Retry | Broken) -> Delivered | Rejected:
    """What a failure comes to when it has lasted for so long. Where others were told, only the rest is given up."""
    after = f"given up after {duration(patience)}: "
    if isinstance(failure, Retry) and failure.late:
        late = tuple(replace(each, reason=after + each.reason) for each in failure.late)
        remote = {name: value for name, value in (failure.remote or {}).items() if name != LATE}
        return Delivered(remote, failure.refused + late)
    return Rejected(after + failure.reason, failure.ambiguous, failure.words)


class Suspects:
    """Conversations that were refused as if their destination was broken, though others got through since.

    One that is refused so once more is itself at fault, as a mail is whose words a spam filter dislikes. It is given
    up, so that it doesn't keep the others waiting.
    """

    def __init__(self) -> None:
        self._refused: set[int] = set()
        self._suspects: set[int] = set()

    def weigh(self, conversation: int, outcome: Outcome) -> Outcome:
        """The outcome of an attempt, as it counts."""
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
