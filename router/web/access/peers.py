"""Where a request comes from, and where the router listens."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from aiohttp import web
from multidict import CIMultiDictProxy

Address = IPv4Address | IPv6Address
# A header that a proxy adds. The request then comes from another machine, whatever the peer's address is.
# Via: https://www.rfc-editor.org/rfc/rfc9110#name-via. The last four are those of CDNs.
_FORWARDING_HEADERS = (
    "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for",
    "x-original-host", "x-remote-user", "remote-user", "x-auth-request-user", "true-client-ip", "cf-connecting-ip",
    "fastly-client-ip", "fly-client-ip", "x-envoy-external-address", "client-ip", "x-scheme", "x-webauth-user",
    "x-authentik-username", "tailscale-user-login", "x-azure-clientip", "cdn-loop",
)  # fmt: skip
_FORWARDING_PREFIX = "x-forwarded"
_IPV6_NETWORK_BITS = 64


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Where the router listens, and whether its operator opened it to everybody."""

    host: str = "127.0.0.1"
    """The host of ``--listen``."""
    is_open: bool = False
    """``--open``: without users, no request needs credentials."""

    @property
    def is_loopback_only(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback_host(self.host)


def is_loopback_host(host: str) -> bool:
    """Return whether an address or a host name stands for this machine only. A name other than ``localhost`` does not:
    what it stands for can change.
    """
    name = host.strip("[]").rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


@lru_cache(maxsize=1024)
def address_of(peer: str) -> Address | None:
    """Return the address of a peer; an IPv4 address that is mapped into IPv6 as IPv4. None: it has no IP address, for
    example because it uses a Unix socket.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_loopback(peer: str) -> bool:
    """Return whether a peer is this machine."""
    address = address_of(peer)
    return address is not None and address.is_loopback


def network_of(peer: str) -> str:
    """Return what a peer is counted by: its address, or its network of IPv6, because one customer has a whole network."""
    address = address_of(peer)
    if isinstance(address, IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
    return str(address)


def is_forwarded(headers: CIMultiDictProxy[str]) -> bool:
    """Return whether a proxy has forwarded a request."""
    for name in headers:
        folded = name.lower()
        if folded.startswith(_FORWARDING_PREFIX) or folded in _FORWARDING_HEADERS:
            return True
    return False


def is_from_this_machine(request: web.Request) -> bool:
    """Return whether a request comes from this machine itself, and not through a proxy."""
    return is_loopback(request.remote or "") and not is_forwarded(request.headers)
