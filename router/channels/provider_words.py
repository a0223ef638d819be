"""Makes a provider's own words about a failure safe to show to people: one line, of limited length, without secrets."""

import base64
import re
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from router.model import Delivered, Outcome, Retry
from router.render.words import clip, line

MAX_WORDS_CHARS = 500
_MASK = "***"
# Shorter parts of an address are words, not tokens.
_MIN_TOKEN_CHARS = 6
_HTML_TAG = re.compile(r"<[^<>]*>")
# The peer closed the connection during the handshake. The next attempt may succeed.
_TRANSIENT_TLS_ERRORS = (
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
    ssl.SSLSyscallError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)


def masked_outcome(outcome: Outcome, secrets: Iterable[str]) -> Outcome:
    """Return the outcome with its provider's words on one line, cut to length, and without these secrets."""
    pattern = _secret_pattern(secrets)
    refused = tuple(
        replace(each, words=_masked(each.words, pattern)) for each in getattr(outcome, "refused", ())
    )
    match outcome:
        case Delivered():
            return replace(outcome, refused=refused)
        case Retry():
            late = tuple(replace(each, words=_masked(each.words, pattern)) for each in outcome.late)
            return replace(outcome, words=_masked(outcome.words, pattern), refused=refused, late=late)
    return replace(outcome, words=_masked(outcome.words, pattern))


def _secret_pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern of the secrets, also in the encodings that SMTP servers and addresses use."""
    forms = set(filter(None, secrets))
    forms |= {unquote(each) for each in forms} | {line(each) for each in forms}
    forms |= {base64.b64encode(each.encode()).decode() for each in forms}
    longest_first = sorted(filter(None, forms), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None


def _masked(text: str, pattern: re.Pattern[str] | None) -> str:
    for shape in (str, line):  # before white space is folded, and after
        text = pattern.sub(_MASK, shape(text)) if pattern is not None else shape(text)
    return clip(text, MAX_WORDS_CHARS)


def secret_parts(url: str) -> Iterator[str]:
    """Yield an address and each of its parts that may be a token."""
    yield url
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    yield from (each for each in (target, parts.path, parts.query) if len(each) >= _MIN_TOKEN_CHARS)
    pieces = re.split(r"[/?&=;#]", f"{target}#{parts.fragment}")
    yield from (each for each in pieces if len(each) >= _MIN_TOKEN_CHARS)


def body_text(raw: bytes, media_type: str) -> str:
    """Return the body of an answer as one line of text, without HTML tags."""
    text = raw.decode(errors="replace")
    return line(_HTML_TAG.sub(" ", text) if "html" in media_type else text)


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error, and then what caused it, down to the first cause. urllib3 may keep the cause as an argument."""
    while error is not None:
        yield error
        wrapped = next((each for each in error.args if isinstance(each, BaseException)), None)
        error = error.__cause__ or error.__context__ or wrapped


def tls_failure(error: BaseException) -> str:
    """Return the reason if TLS failed in a way that a person has to repair; else an empty text."""
    for each in causes_of(error):
        if isinstance(each, ssl.SSLCertVerificationError | ssl.CertificateError):
            return "tls: certificate not trusted"
        if isinstance(each, ssl.SSLError) and not isinstance(each, _TRANSIENT_TLS_ERRORS):
            return "tls: handshake failed"
    return ""
