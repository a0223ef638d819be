"""Says why a destination has not answered a test yet. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from router.model import AnswerState, MessageAnswer, Millis, ReceiverTest, TestedDestination
from router.render.words import duration


def explained(
    test: ReceiverTest, lanes: Sequence[Mapping[str, Any]], next_at: Mapping[str, Millis | None], now: Millis
) -> ReceiverTest:
    """Return a test whose waiting answers say what they wait for.

    :param lanes: see :meth:`router.deliver.Lanes.describe`
    :param next_at: when each destination may be tried next, by key; None: an attempt is under way
    """
    by_key = {lane["destination"]: lane for lane in lanes}

    def with_words(tested: TestedDestination) -> TestedDestination:
        why = _why(by_key.get(tested.key), next_at.get(tested.key), now)
        if test.ended_at is None:
            return replace(tested, firing=_explained(tested.firing, why))
        return replace(tested, end=_explained(tested.end, why))

    return replace(test, destinations=tuple(map(with_words, test.destinations)))


def _explained(answer: MessageAnswer, why: str) -> MessageAnswer:
    if answer.state is not AnswerState.WAITING:
        return answer
    return replace(answer, words="; ".join(filter(None, [answer.words, why])))


def _why(lane: Mapping[str, Any] | None, next_at: Millis | None, now: Millis) -> str:
    """:param lane: None: the destination has none"""
    if lane is None:
        return "the router does not send to this destination yet"
    if lane["paused_since"] is not None:
        return (
            f"{lane['paused_by'] or 'an operator'} paused the destination {duration(now - lane['paused_since'])} ago; "
            f"to end the pause: alert-router deliveries resume {lane['destination']}"
        )
    if lane["paused_until"] is not None:
        what = (
            "the provider takes no more at the moment"
            if lane["is_rate_limited"]
            else "the destination pauses"
        )
        reason = f" ({lane['pause_reason']})" if lane["pause_reason"] else ""
        sooner = (
            ""
            if lane["is_rate_limited"]
            else f"; sooner: alert-router deliveries resume {lane['destination']}"
        )
        return f"{what}{reason}; it is tried again in {duration(lane['paused_until'] - now)}{sooner}"
    if next_at is None:
        return "an attempt is under way"
    if next_at > now:
        return f"it is tried again in {duration(next_at - now)}"
    rate = f", at a rate of {lane['rate']}" if lane["rate"] else ""
    return f"the next attempt is due; other messages may go first{rate}"
