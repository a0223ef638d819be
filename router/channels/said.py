"""What a provider says of a failure, made fit to show to people: whole, bounded, without secrets."""

import base64
import re
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from router.model import Delivered, Outcome, Retry
from router.render.words import clip, line

LONGEST = 500
_MASK = "***"
# Shorter pieces of an address are words, not tokens.
_TOKEN = 6
_TAGS = re.compile(r"<[^<>]*>")
# A peer that hangs up in the middle of a handshake may do better the next time.
_PASSING = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError, ssl.SSLWantWriteError)  # fmt: skip


def fit_to_show(outcome: Outcome, secrets: Iterable[str]) -> Outcome:
    """The outcome, its words without these secrets."""
    masks = _forms(secrets)
    refused = tuple(replace(each, words=_fit(each.words, masks)) for each in getattr(outcome, "refused", ()))
    match outcome:
        case Delivered():
            return replace(outcome, refused=refused)
        case Retry():
            late = tuple(replace(each, words=_fit(each.words, masks)) for each in outcome.late)
            return replace(outcome, words=_fit(outcome.words, masks), refused=refused, late=late)
    return replace(outcome, words=_fit(outcome.words, masks))


def _forms(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Matches the secrets, also as an SMTP server has them quoted and as they stand in an address."""
    found = set(filter(None, secrets))
    found |= {unquote(each) for each in found} | {line(each) for each in found}
    found |= {base64.b64encode(each.encode()).decode() for each in found}
    longest_first = sorted(filter(None, found), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if found else None


def _fit(text: str, masks: re.Pattern[str] | None) -> str:
    for shape in (str, line):  # before blanks are folded, and after
        text = masks.sub(_MASK, shape(text)) if masks is not None else shape(text)
    return clip(text, LONGEST)


def parts_of(url: str) -> Iterator[str]:
    """An address and what of it may be a token."""
    yield url
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    yield from (each for each in (target, parts.path, parts.query) if len(each) >= _TOKEN)
    yield from (each for each in re.split(r"[/?&=;#]", f"{target}#{parts.fragment}") if len(each) >= _TOKEN)


def text_of(raw: bytes, media: str) -> str:
    """An answer's body as one line of text."""
    text = raw.decode(errors="replace")
    return line(_TAGS.sub(" ", text) if "html" in media else text)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def tls_fault(error: BaseException) -> str:
    """What is wrong with TLS so that somebody has to mend it; empty: nothing, or nothing that lasts."""
    for each in causes(error):
        if isinstance(each, ssl.SSLCertVerificationError | ssl.CertificateError):
            return "tls: certificate not trusted"
        if isinstance(each, ssl.SSLError) and not isinstance(each, _PASSING):
            return "tls: handshake failed"
    return ""
