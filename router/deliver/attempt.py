"""One attempt in a task of its own: if a channel raises, swallows a cancellation or hangs, its lane still goes on."""

import asyncio
from collections.abc import Callable

import structlog

from router.channels.base import Channel
from router.channels.steps import Steps, may_send
from router.core.head import LeaseLost
from router.model import SECOND, Destination, Message, Outcome, Retry
from router.store import ClaimedDelivery

log = structlog.get_logger(__name__)

MAX_SECONDS = 90.0
"""The time limit of an attempt (seconds). A channel ends its attempts before that by itself, and remembers the part
that it has sent. So an attempt that takes longer than this hangs.
"""
# The time that an attempt has to end after a stop has cancelled it.
_CANCEL_SECONDS = 0.5

# Attempts that have not ended, also those that were cancelled: the event loop itself keeps only weak references.
_attempts: set[asyncio.Task[Outcome | None]] = set()


async def send_once(
    channel: Channel,
    destination: Destination,
    work: ClaimedDelivery,
    message: Message,
    may_go_on: Callable[[], bool],
    within: float = MAX_SECONDS,
) -> Outcome:
    """Send a message in a task of its own, and return the outcome.

    :param may_go_on: returns whether the attempt may still send; any thread may call it
    :param within: seconds; an attempt that takes longer is cut off, and may have arrived
    :raises LeaseLost: the attempt was cut off, because ``may_go_on`` returned False; the message may have arrived
    """
    sending = asyncio.create_task(_send(channel, destination, work, message, may_go_on))
    _attempts.add(sending)
    sending.add_done_callback(_attempts.discard)
    try:
        done, _ = await asyncio.wait([sending], timeout=within)
    except asyncio.CancelledError:
        sending.cancel()
        await asyncio.wait([sending], timeout=_CANCEL_SECONDS)
        raise
    if done:
        if (outcome := sending.result()) is None:
            raise LeaseLost(destination.key)
        return outcome
    sending.cancel()
    log.error(
        "delivery cut off",
        destination=destination.key,
        delivery=work.delivery,
        durationMs=round(within * SECOND),
    )
    return Retry(f"no outcome within {within:g} s", ambiguous=True)


async def _send(
    channel: Channel,
    destination: Destination,
    work: ClaimedDelivery,
    message: Message,
    may_go_on: Callable[[], bool],
) -> Outcome | None:
    """Return the outcome; None: the attempt was cut off because it may not go on."""
    may_send.set(may_go_on)
    try:
        outcome = await Steps(channel.send(destination, work.conversation, message), may_go_on)
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # by this module, and not by something within the channel
            raise
        if not may_go_on():
            return None
        log.exception("channel raised", destination=destination.key, delivery=work.delivery)
        return Retry(f"internal: {type(error).__name__}", ambiguous=True)
    if not may_go_on():
        return None
    if isinstance(outcome, Outcome):
        return outcome
    log.error(
        "channel returned no outcome",
        destination=destination.key,
        delivery=work.delivery,
        returned=type(outcome).__name__,
    )
    return Retry("internal: no outcome", ambiguous=True)
