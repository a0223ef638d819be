"""The label index: by a label, the alerts that have it.

An entry is a hash of the label and the id of an alert, so that it takes a few bytes whatever the label. Whoever finds
alerts by it looks at their labels once more, because two labels can have one hash.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache

_BYTES = 6
# Most alerts share most of their labels.
_REMEMBERED = 10_000


@lru_cache(_REMEMBERED)
def label_hash(name: str, value: str) -> int:
    """It is stored: it never changes."""
    text = f"{name}\0{value}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_BYTES).digest(), "big")


def entries(alerts: Iterable[tuple[int, str]]) -> list[tuple[int, int]]:
    """The entries of alerts, in the order of the index. :param alerts: ids, and labels as JSON"""
    return sorted(
        {
            (label_hash(name, value), id_)
            for id_, labels in alerts
            for name, value in json.loads(labels).items()
        }
    )
