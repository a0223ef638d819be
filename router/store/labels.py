"""The label index, which finds the alerts that have a label.

An entry is the hash of a label and the id of an alert, so it takes a few bytes however long the label is. Two labels
may have the same hash, so a search has to compare the labels of the alerts that it finds.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache

_BYTES = 6
# Most alerts share most of their labels, so hashes are cached.
_REMEMBERED = 10_000


@lru_cache(_REMEMBERED)
def label_hash(name: str, value: str) -> int:
    """Return the hash of a label, as the index stores it. This function must never change, because stored hashes
    would no longer match.
    """
    text = f"{name}\0{value}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_BYTES).digest(), "big")


def entries(alerts: Iterable[tuple[int, str]]) -> list[tuple[int, int]]:
    """Return the entries ``(hash, alert id)`` of alerts, in the order of the index.

    :param alerts: ids, and labels as JSON
    """
    return sorted(
        {
            (label_hash(name, value), id_)
            for id_, labels in alerts
            for name, value in json.loads(labels).items()
        }
    )
