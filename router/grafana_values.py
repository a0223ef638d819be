"""The values that Grafana measured for an alert, as one line of text: ``A=1.2, B=3``.

https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_MAX_VALUES_SHOWN = 10
_MAX_NAME_CHARS = 60
_MAX_VALUE_CHARS = 60
_MAX_TEXT_CHARS = 500
_MAX_READ_CHARS = 100_000
# The parts of a text like: [ var='B' labels={instance=db-1} value=44.23 ], [ metric='cpu' labels={} value=1 ]
_PART_BEGINS = re.compile(r"\[ (?:var|metric)='")
_VALUE = re.compile(r"[^\s\],]+")
# Whole numbers from the first one on, and below the second one, are readable without an exponent.
_SIX_DIGITS, _SIXTEEN_DIGITS = 10**6, 10**15


def values_of(entry: Mapping[str, Any]) -> str:
    """Return the values of an alert in Grafana's webhook as text; empty: there are none.

    ``values`` has a number for each query or expression. ``valueString`` says the same with labels; it is used where there
    are no ``values``. Long names and values are cut with an ellipsis, and values beyond the tenth are counted.
    """
    values = entry.get("values")
    if type(values) is dict and values:
        return _listed([(str(name), _value_text(value)) for name, value in values.items()])
    text = entry.get("valueString")
    if type(text) is not str:
        return ""
    parts = list(_parts(text[:_MAX_READ_CHARS]))
    return _listed(parts) if parts else _cut(" ".join(text.split()), _MAX_TEXT_CHARS)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each part of a ``valueString``."""
    for part in _PART_BEGINS.split(text)[1:]:
        name, _, rest = part.partition("'")
        if value := _VALUE.match(rest.rpartition(" value=")[2]):
            yield name, _number_text(value[0])


def _listed(several: list[tuple[str, str]]) -> str:
    shown = [
        f"{_cut(name, _MAX_NAME_CHARS)}={_cut(value, _MAX_VALUE_CHARS)}"
        for name, value in several[:_MAX_VALUES_SHOWN]
    ]
    more = len(several) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def _value_text(value: Any) -> str:
    if value is None:
        return "no value"
    if type(value) is int or type(value) is float:
        return _rounded(value)
    return value if type(value) is str else "not a number"


def _number_text(text: str) -> str:
    """Return a number in a text, rounded; another text as it is."""
    try:
        return _rounded(float(text))
    except ValueError:
        return text


def _rounded(value: float) -> str:
    """Return a number with six significant digits; a large one as a whole number, as far as it is readable."""
    if _SIX_DIGITS <= abs(value) < _SIXTEEN_DIGITS:
        return f"{value:.0f}"
    try:
        return f"{value:.6g}"
    except OverflowError:  # a whole number that is too large for a float
        return "a very large number"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
