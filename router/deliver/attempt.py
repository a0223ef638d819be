"""One attempt, contained: whatever a channel raises, swallows or waits for, its lane goes on."""

import asyncio

import structlog

from router.channels.base import Channel
from router.model import Destination, Message, Outcome, Retry
from router.store import Work

log = structlog.get_logger(__name__)

# Seconds. A channel ends its attempts by itself before that, and keeps what it got done: what takes longer hangs.
LONGEST = 90.0
# Seconds that an attempt has to end in once it was cut off by a stop.
_LAST_WORDS = 0.5

# Cut off, and not ended yet: the event loop by itself would forget them.
_ASTRAY: set[asyncio.Task[Outcome]] = set()


async def send_once(
    channel: Channel, destination: Destination, work: Work, message: Message, within: float = LONGEST
) -> Outcome:
    """Send, in a task of its own.

    :param within: seconds; what takes longer is cut off, and may have arrived
    """
    sending = asyncio.create_task(_send(channel, destination, work, message))
    _ASTRAY.add(sending)
    sending.add_done_callback(_ASTRAY.discard)
    try:
        done, _ = await asyncio.wait([sending], timeout=within)
    except asyncio.CancelledError:
        sending.cancel()
        await asyncio.wait([sending], timeout=_LAST_WORDS)
        raise
    if done:
        return sending.result()
    sending.cancel()
    log.error("delivery cut off", destination=destination.key, delivery=work.delivery, seconds=within)
    return Retry(f"no outcome within {within:g} s", ambiguous=True)


async def _send(channel: Channel, destination: Destination, work: Work, message: Message) -> Outcome:
    try:
        outcome = await channel.send(destination, work.conversation, message)
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # by us, not by something within
            raise
        log.exception("channel raised", destination=destination.key, delivery=work.delivery)
        return Retry(f"internal: {type(error).__name__}", ambiguous=True)
    if isinstance(outcome, Outcome):
        return outcome
    log.error(
        "channel returned no outcome",
        destination=destination.key,
        delivery=work.delivery,
        returned=type(outcome).__name__,
    )
    return Retry("internal: no outcome", ambiguous=True)
