"""Reads ids of rows from addresses."""

_MAX_DIGITS = 18  # of a signed 64-bit integer


def row_id(text: str) -> int | None:
    """Return an id; None: the text can't be one."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= _MAX_DIGITS else None
