"""The names by which the router may be asked, and the origins that may ask it to act.

A page of another site can make a browser send requests to the router. If it has made its own name point to the router's
address (DNS rebinding), the browser even lets it read the answers. The header ``Host`` then has the name of that site.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

_MAX_HOST_CHARS = 300
_MAX_SHOWN_CHARS = 100
_HOST_CHARACTERS = re.compile(r"[A-Za-z0-9_.:\[\]%-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ACTING_SITES = frozenset({"same-origin", "none"})


@lru_cache(maxsize=512)
def split_host(text: str) -> tuple[str, int | None] | None:
    """Return the host in lower case without brackets, and the port (None: not given), of a ``Host`` header.

    :returns: None: it is no host
    """
    if len(text) > _MAX_HOST_CHARS or not _HOST_CHARACTERS.fullmatch(text):
        return None
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_ipv6(host) or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
        host = host.removesuffix(".")
        if ":" in port or not re.fullmatch(r"[A-Za-z0-9_.-]+", host):
            return None
    if port and not (port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        return None
    return host.lower(), int(port) if port else None


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text.partition("%")[0]), ipaddress.IPv6Address)
    except ValueError:
        return False


def is_ip_literal(host: str) -> bool:
    """Return whether a host is an IP address. A site can't make such a name its own."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_allowed_host(host: str, listen: str, allowed: Iterable[str]) -> bool:
    """Return whether the router answers to a host name.

    :param host: in lower case
    :param listen: the host of ``--listen``
    :param allowed: ``web.allowed_hosts``
    """
    if host == "localhost" or is_ip_literal(host):
        return True
    name = socket.gethostname().lower()
    if host in {listen.lower().rstrip("."), name, name.partition(".")[0]} - {""}:
        return True
    return any(_matches(host, pattern) for pattern in allowed)


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def host_problem(request: web.Request, listen: str, allowed: Iterable[str]) -> str | None:
    """Return why the router does not answer to the host name of a request, and what to do; None: it does."""
    given = request.headers.getall("Host", [])
    split = split_host(given[0]) if len(given) == 1 else None
    if split is None:
        return "The request has no valid Host header, so it is refused."
    if is_allowed_host(split[0], listen, allowed):
        return None
    return (
        f"The router does not answer to the host name {split[0][:_MAX_SHOWN_CHARS]}. Add it to `web: allowed_hosts:` in "
        "routes.yaml, or use the address of the machine. (This protects from sites that make their own name point here.)"
    )


def origin_problem(request: web.Request) -> str | None:
    """Return why an action is refused because of the page that asks for it; None: it is not.

    Browsers set both headers, and pages can't. Programs send neither. https://web.dev/articles/fetch-metadata
    """
    sites, origins = request.headers.getall("Sec-Fetch-Site", []), request.headers.getall("Origin", [])
    if "null" in origins:
        return "A page without an origin of its own asked for this (Origin: null). Use the pages of the router itself."
    if sites:
        if len(sites) == 1 and sites[0].strip().lower() in _ACTING_SITES:
            return None
        return "A page of another site asked for this. Use the pages of the router itself."
    if origins and not (len(origins) == 1 and is_same_origin(origins[0], request.headers.get("Host", ""))):
        return (
            "A page of another origin asked for this. Use the pages of the router itself; a proxy before the router has to "
            "keep the Host header."
        )
    return None


def is_same_origin(origin: str, host: str) -> bool:
    """Return whether an origin has the host and the port of a ``Host`` header. The schemes may differ, because a proxy may
    end TLS.
    """
    if len(origin) > _MAX_HOST_CHARS:
        return False
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(parts.scheme)
    here, there = split_host(host), split_host(parts.netloc)
    if (
        default is None
        or here is None
        or there is None
        or f"{parts.scheme}://{parts.netloc}".lower() != origin.lower()
    ):
        return False
    return here[0] == there[0] and (here[1] or default) == (there[1] or default)
