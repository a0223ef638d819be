"""Tells observers of each error with an exception that is logged."""

import sys
from collections.abc import Callable
from types import TracebackType

ErrorObserver = Callable[[str, str, BaseException], None]
"""Takes what failed (a fixed text), the name of the logger, and the error."""
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_ERRORS = frozenset({"error", "critical"})
_observers: list[ErrorObserver] = []


def on_error(observe: ErrorObserver) -> Callable[[], None]:
    """Call an observer for each error with an exception whose line is logged, in the thread that logs it. It may not raise,
    and may not take long.

    :returns: ends that
    """
    _observers.append(observe)
    return lambda: _observers.remove(observe)


def observe_error(action: str, level: str, logger: str, given: object) -> None:
    """Pass a log line on, if it is about an error with an exception. :param given: ``exc_info`` of the line"""
    error = exc_info_of(given) if given and level in _ERRORS else None
    if error is not None:
        for observe in _observers:
            observe(action, logger, error[1])


def exc_info_of(given: object) -> ExcInfo | None:
    """Return the exception that a line is about; None: it is about none."""
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple):
        return given if given[1] is not None else None
    if given:
        kind, error, where = sys.exc_info()
        return None if kind is None or error is None else (kind, error, where)
    return None
