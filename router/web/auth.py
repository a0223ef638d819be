"""Who may post: each source by its credentials, compared in constant time; without credentials, loopback."""

import base64
import binascii
import hmac
import ipaddress

from aiohttp import web

from router.model import Source

_ANYBODY = Source("default")


def authenticate(request: web.Request, sources: tuple[Source, ...], name: str | None) -> Source:
    """The source that a request comes from.

    :param name: of the source, when the address says it (``/webhook/{source}``)
    :raises HTTPUnauthorized: with what to do in its text
    """
    candidates = sources or (_ANYBODY,)
    if name is not None:
        candidates = tuple(each for each in candidates if each.name == name)
    given = request.headers.get("Authorization", "")
    # Every candidate is compared, so that the time taken says nothing of which one came close.
    accepted = [each for each in candidates if _proves(given, each)]
    if accepted:
        return accepted[0]
    for each in candidates:
        if each.bearer_token is None and each.password is None and _is_loopback(request.remote):
            return each
    raise web.HTTPUnauthorized(
        headers={"WWW-Authenticate": 'Bearer realm="alert-router", Basic realm="alert-router"'},
        text=_what_to_do(sources, candidates, given),
    )


def _what_to_do(sources: tuple[Source, ...], candidates: tuple[Source, ...], given: str) -> str:
    if not sources:
        return "Without `sources:` in routes.yaml, only this machine may post; name a source and give it a token."
    if not candidates:
        return "No source of this name in routes.yaml; post to /webhook, or to /webhook/<name of a source>."
    if given:
        return (
            "These credentials belong to no source in routes.yaml; compare http_config in alertmanager.yml."
        )
    return "Credentials are missing; set http_config.authorization or basic_auth in alertmanager.yml."


def _proves(given: str, source: Source) -> bool:
    scheme, _, rest = given.partition(" ")
    token, password = source.bearer_token, source.password
    if token is not None and scheme.casefold() == "bearer":
        return _same(rest.strip(), token)
    if password is not None and scheme.casefold() == "basic":
        try:
            user, _, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return _same(user, source.username or "") & _same(secret, password)
    return False


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _is_loopback(remote: str | None) -> bool:
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
