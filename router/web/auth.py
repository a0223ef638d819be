"""Authentication: the credentials of a request identify its source. They are compared in constant time.

A source without credentials is allowed to post from this machine only.
"""

import base64
import hmac
import ipaddress
from functools import lru_cache

from aiohttp import web

from router.model import Source

_DEFAULT_SOURCE = Source("default")
# Headers of a proxy or of a page in a browser: the request does not come from this machine itself.
_FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Origin")


class Unauthorized(Exception):  # noqa: N818  (named as HTTP names it)
    """The request belongs to no source. The message says what to do."""


def authenticate(request: web.Request, sources: tuple[Source, ...], name: str | None) -> Source:
    """Return the source that a request comes from. Only its headers are read.

    :param sources: the sources of routes.yaml
    :param name: the source's name, if the address gives it (``/webhook/{source}``)
    :raises Unauthorized: it belongs to no source; the message says what to do
    """
    candidates = sources or (_DEFAULT_SOURCE,)
    if name is not None:
        candidates = tuple(each for each in candidates if each.name == name)
    given = request.headers.get("Authorization", "")
    # Every candidate is compared, so that the duration does not reveal which one is similar.
    accepted = [each for each in candidates if _proves(given, each)]
    if accepted:
        return accepted[0]
    unlocked = [each for each in candidates if each.bearer_token is None and each.password is None]
    wrong = given and len(unlocked) < len(candidates)
    if unlocked and not wrong and _is_local(request):
        return unlocked[0]
    raise Unauthorized(_what_to_do(sources, candidates, given))


def _what_to_do(sources: tuple[Source, ...], candidates: tuple[Source, ...], given: str) -> str:
    if not candidates:
        return "There is no source of this name in routes.yaml; post to /webhook, or to /webhook/<name of a source>."
    if not sources:
        return "Without `sources:` in routes.yaml, only this machine may post; name a source and give it a token."
    if given:
        return (
            "These credentials belong to no source in routes.yaml; compare http_config in alertmanager.yml."
        )
    return "Credentials are missing; set http_config.authorization or basic_auth in alertmanager.yml."


def _proves(given: str, source: Source) -> bool:
    scheme, _, rest = given.partition(" ")
    token, password = source.bearer_token, source.password
    if token and scheme.casefold() == "bearer":
        return _is_same(rest.strip(), token)
    if password and scheme.casefold() == "basic":
        try:
            user, _, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except ValueError:  # no base64, or no UTF-8 in it
            return False
        return _is_same(user, source.username or "") & _is_same(secret, password)
    return False


def _is_same(given: str, expected: str) -> bool:
    # Headers and the environment hold bytes that are not UTF-8 as lone surrogates.
    return hmac.compare_digest(*(each.encode("utf-8", "surrogateescape") for each in (given, expected)))


def _is_local(request: web.Request) -> bool:
    headers = request.headers
    for name in _FORWARDING_HEADERS:
        if name in headers:
            return False
    return _is_loopback(request.remote or "")


@lru_cache(maxsize=1024)
def _is_loopback(remote: str) -> bool:
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:  # no IP address: another kind of socket
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
