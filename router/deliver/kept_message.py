"""The message of a delivery, as the store keeps it."""

import json
from typing import Any

from router.model import Message

_encode = json.JSONEncoder(separators=(",", ":")).encode
MAX_KEPT_ALERTS = 2_000
"""The largest number of alerts in a message that is kept whole. Of a message about more alerts than this, only their
number is kept, because each attempt would take megabytes.
"""


def packed_message(message: Message, alerts: int) -> bytes:
    """Return the message as JSON. It has no secret, because a message has none: channels take addresses and keys from
    their options.

    :param alerts: how many alerts the message is about
    """
    kept: dict[str, Any] = {"channel": message.channel}
    if alerts > MAX_KEPT_ALERTS:
        kept["left_out"] = alerts
    else:
        kept["body"] = message.body
    if message.fallback:
        kept["fallback"] = True
    return _encode(kept).encode()
