"""The credentials of a webhook identify its source. They are compared in constant time.

A source without credentials is allowed to post from this machine only.
"""

from aiohttp import web

from router.model import DEFAULT_SOURCE, Source
from router.web.access.authorization import BasicCredentials, BearerToken, Credentials, is_same
from router.web.access.peers import AccessOptions, is_from_this_machine

_DEFAULT_SOURCE = Source(DEFAULT_SOURCE)


class Unauthorized(Exception):  # noqa: N818  (named as HTTP names it)
    """The request belongs to no source. The message says what to do."""


def candidates_of(sources: tuple[Source, ...], name: str | None) -> tuple[Source, ...]:
    """Return the sources that a request may come from.

    :param name: the source's name, if the address gives it (``/webhook/{source}``)
    """
    candidates = sources or (_DEFAULT_SOURCE,)
    return candidates if name is None else tuple(each for each in candidates if each.name == name)


def source_with(credentials: Credentials | None, candidates: tuple[Source, ...]) -> Source | None:
    """Return the source that has these credentials as plain text; None: none has."""
    if credentials is None:
        return None
    # Every candidate is compared, so that the duration does not reveal which one is similar.
    accepted = [each for each in candidates if _has(each, credentials)]
    return accepted[0] if accepted else None


def _has(source: Source, credentials: Credentials) -> bool:
    match credentials:
        case BearerToken(token):
            return bool(source.bearer_token) and is_same(token, source.bearer_token or "")
        case BasicCredentials(user, password):
            if not source.password:
                return False
            return is_same(user, source.username or "") & is_same(password, source.password)


def unlocked_source(
    request: web.Request, candidates: tuple[Source, ...], given: str, options: AccessOptions
) -> Source | None:
    """Return the source without credentials that a request comes from; None: it comes from none.

    :param given: the value of the header ``Authorization``
    """
    unlocked = [each for each in candidates if not each.has_credentials]
    is_wrong = given and len(unlocked) < len(candidates)
    if not unlocked or is_wrong or not (options.is_loopback_only or options.is_open):
        return None
    # A page in a browser on this machine sends an Origin.
    return unlocked[0] if "Origin" not in request.headers and is_from_this_machine(request) else None


def what_to_do(
    sources: tuple[Source, ...], candidates: tuple[Source, ...], given: str, options: AccessOptions
) -> str:
    """Return what the operator of a refused sender should do."""
    if not candidates:
        return "There is no source of this name in routes.yaml; post to /webhook, or to /webhook/<name of a source>."
    if not sources:
        return (
            "Without `sources:` in routes.yaml, only this machine may post"
            + ("" if options.is_loopback_only else ", and nobody while the router listens for other machines")
            + "; name a source and give it a token."
        )
    if given:
        return (
            "These credentials belong to no source in routes.yaml; compare http_config in alertmanager.yml."
        )
    return "Credentials are missing; set http_config.authorization or basic_auth in alertmanager.yml."
