"""The attached file of a digest whose mail has no room for all alerts."""

from collections.abc import Mapping
from typing import Any

from router.channels.email_layout import PLAIN
from router.channels.email_mime import ATTACHMENT

DIGEST_FILE_NOTE = (
    f"Not all alerts fit into this mail. The attached file {ATTACHMENT} has each of them in one line."
)


def leaves_out_alerts(values: Mapping[str, Any]) -> bool:
    """Return whether the entries of a digest leave out an alert, or what tells it apart.

    :param values: the variables of the digest
    """
    return any(
        section.others or any(entry.unlisted for entry in section.entries) for section in values["sections"]
    )


def digest_file(values: Mapping[str, Any], room: int) -> str:
    """Return all alerts of a digest, one a line, in ``room`` bytes. The lines beyond are counted.

    :param values: the variables of the digest
    """
    rows = [f"Alert digest, {values['period']}: {values['headline']}", ""]
    room -= PLAIN.size("\n".join([*rows, _more(len(values["lines"]) + len(values["sections"]))])) + 1
    lines = iter(values["lines"])
    for each in lines:
        room -= PLAIN.size(each) + 1
        if room < 0:
            rows.append(_more(1 + sum(1 for _ in lines)))
            break
        rows.append(each)
    return "\n".join(rows)


def _more(count: int) -> str:
    return f"and {count} more line{'s' * (count > 1)}"
