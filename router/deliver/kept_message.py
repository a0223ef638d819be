"""What a delivery sent, as the store keeps it."""

import json
from typing import Any

from router.model import Message

_written = json.JSONEncoder(separators=(",", ":")).encode
LARGEST = 2_000
"""Alerts. Of a message about more, only their number is kept: it takes megabytes, at each attempt."""


def packed_message(message: Message, alerts: int) -> bytes:
    """JSON. It holds no secret, because a message has none: channels take addresses and keys from their options.

    :param alerts: how many the message is about
    """
    kept: dict[str, Any] = {"channel": message.channel}
    if alerts > LARGEST:
        kept["left_out"] = alerts
    else:
        kept["body"] = message.body
    if message.fallback:
        kept["fallback"] = True
    return _written(kept).encode()
