"""Reads the header ``Authorization``. https://www.rfc-editor.org/rfc/rfc9110#section-11.6.2"""

import base64
import hmac
from dataclasses import dataclass, field

_MAX_CHARS = 4_096


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """https://www.rfc-editor.org/rfc/rfc7617"""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BearerToken:
    """https://www.rfc-editor.org/rfc/rfc6750"""

    token: str = field(repr=False)


Credentials = BasicCredentials | BearerToken


def parse_authorization(header: str) -> Credentials | None:
    """Return the credentials of a header; None: it has none that the router knows."""
    if len(header) > _MAX_CHARS:
        return None
    scheme, _, rest = header.partition(" ")
    match scheme.casefold():
        case "bearer":
            return BearerToken(rest.strip())
        case "basic":
            return _basic(rest.strip())
    return None


def _basic(text: str) -> BasicCredentials | None:
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:  # no base64, or no UTF-8 in it
        return None
    return BasicCredentials(user, password) if colon else None


def is_same(given: str, expected: str) -> bool:
    """Compare secrets in constant time."""
    # Headers and the environment hold bytes that are not UTF-8 as lone surrogates.
    return hmac.compare_digest(*(each.encode("utf-8", "surrogateescape") for each in (given, expected)))
