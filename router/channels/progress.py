"""What attempts of several requests have in common: how many are paid for, and what an attempt that fails has done."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router.model import Call, Conversation, Delivered, Outcome, Rejected, Retry

UNFINISHED = Retry("more messages follow", reached=True, unfinished=True)
"""All requests that are paid for were made, and others have to follow."""


class Budget:
    """Counts the requests of an attempt. The planned ones are paid for when the attempt begins, all or the first ones."""

    def __init__(self, paid: int | None) -> None:
        """:param paid: how many planned requests are paid for; None: all"""
        self.unpaid: list[Call] = []
        """The requests that were made in addition to the planned ones."""
        self._left = paid

    def spend(self) -> bool:
        """Count a planned request before it is made; return False if it is not paid for."""
        if self._left == 0:
            return False
        self._left = None if self._left is None else self._left - 1
        return True


def with_progress(
    outcome: Outcome, conversation: Conversation, remote: Mapping[str, Any], first: str, *, is_shown: bool
) -> Outcome:
    """Return the outcome of an attempt together with what the attempt did before it failed.

    :param remote: the conversation's remote state now
    :param first: the key in ``remote`` of the first message's id
    :param is_shown: the attempt has brought the first message up to date
    """
    if isinstance(outcome, Delivered) or remote == conversation.remote:
        return outcome
    if isinstance(outcome, Rejected):
        # The groups that a refused message of a storm names are sent one by one.
        if not is_shown or conversation.storm is not None:
            return outcome
        # The first message arrived. A part that is refused for good is reported by the next attempt.
        outcome = Retry(outcome.reason, words=outcome.words)
    outcome = replace(outcome, remote=dict(remote), ambiguous=is_shown or outcome.ambiguous)
    return replace(outcome, further=True) if isinstance(outcome, Retry) and first in remote else outcome


def is_shown_now(conversation: Conversation, remote: Mapping[str, Any]) -> bool:
    """Return whether the first message shows this version since this attempt. ``shown`` in a remote state is the
    version that it shows.
    """
    return remote.get("shown") == conversation.version != conversation.remote.get("shown")
