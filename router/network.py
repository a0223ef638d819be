"""How the router reaches other servers: through which proxy, and which certificate authorities it trusts.

The channels and the client of Alertmanager use the same settings. They are made once, when routes.yaml is loaded, from its
section ``network:`` and from the environment.
"""

import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORT = re.compile(r"(?P<host>.*):(?P<port>[0-9]{1,5})", re.DOTALL)
_DOMAIN = re.compile(r"(?:\*?\.)?[^\s/:@*.\[\]]+(?:\.[^\s/:@*.\[\]]+)*\.?")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ProxyException:
    """One entry of NO_PROXY: servers that are reached without a proxy."""

    domain: str = ""
    """In lower case, in its ASCII form, without dots around it; empty: the entry is no domain."""
    subdomains_only: bool = False
    network: IPNetwork | None = None
    """A single address is a network of one."""
    port: int | None = None
    """None: every port."""
    everything: bool = False

    def matches(self, host: str, port: int) -> bool:
        """Return whether a server is reached directly. :param host: as :func:`_normal_host` returns it"""
        if self.everything:
            return True
        if self.port not in {None, port}:
            return False
        address = _address(host)
        if address is not None or self.network is not None:
            return address is not None and self.network is not None and address in self.network
        return host.endswith(f".{self.domain}") or (host == self.domain and not self.subdomains_only)


def parse_exception(entry: str) -> ProxyException:
    """Parse one entry of NO_PROXY, as Go does: https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config

    An entry is one of: ``*``; a domain, which includes its subdomains; ``.domain`` or ``*.domain``, which is its subdomains
    alone; an IP address; a CIDR block. All but the first may have a ``:port``; then an IPv6 address is in brackets.

    :raises ValueError: the entry is none of these
    """
    text = entry.strip().lower()
    if text == "*":
        return ProxyException(everything=True)
    if (network := _network(text)) is not None:  # before the port: an IPv6 address has colons
        return ProxyException(network=network)
    host, port = text, None
    if (found := _PORT.fullmatch(text)) is not None:
        host, port = found["host"], int(found["port"])
        if not 0 < port < 65_536:
            raise ValueError("has an invalid port; write one from 1 to 65535")
    if (network := _network(host.removeprefix("[").removesuffix("]"))) is not None:
        return ProxyException(network=network, port=port)
    if "/" in host:
        raise ValueError("is no CIDR block; write it like 10.0.0.0/8 or fd00::/8")
    if not _DOMAIN.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
        raise ValueError(
            "is no host, domain, IP address or CIDR block; write it like .example.com or 10.0.0.0/8"
        )
    return ProxyException(
        domain=_normal_host(host.removeprefix("*").removeprefix(".")),
        subdomains_only=host.startswith(("*", ".")),
        port=port,
    )


def check_proxy_url(url: str) -> str:
    """Return the URL of a proxy if it can be used.

    :raises ValueError: it is no http:// or https:// address
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", url) or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("is no proxy that can be used; write it like http://proxy.example.com:3128")
    return url


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies to use, by what they are for; None: none. Each is a URL that may hold a user and a password."""

    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    other: str | None = field(default=None, repr=False)
    """The proxy for connections other than HTTP. Only mail makes these."""
    exceptions: tuple[ProxyException, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """The network settings of a configuration. Equal settings reach every server in the same way."""

    proxies: Proxies = Proxies()
    ca_certificates: str = field(default="", repr=False)
    """PEM text; trusted in addition to the system's authorities."""

    def proxy_for(self, url: str) -> str | None:
        """Return the URL of the proxy for a web address; None: connect directly."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        except ValueError:
            return None
        proxy = {"http": self.proxies.http, "https": self.proxies.https}.get(parts.scheme)
        return proxy if proxy is not None and not self._is_direct(host, port) else None

    def tunnel_for(self, host: str, port: int) -> str | None:
        """Return the URL of the proxy for a connection that is no web traffic; None: connect directly."""
        return None if self._is_direct(host, port) else self.proxies.other

    def _is_direct(self, host: str, port: int) -> bool:
        host = _normal_host(host)
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(each.matches(host, port) for each in self.proxies.exceptions)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return a new context that trusts the system's authorities and :attr:`ca_certificates`; None: there are no
        certificates, so each library's own default is used.

        It takes about 20 ms. Libraries do not share a context, because urllib3 changes the one that it is given.
        """
        if not self.ca_certificates:
            return None
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=self.ca_certificates)
        return context

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not appear in messages: the credentials of the proxies, in each form in which a library
        can quote them.

        A user without a password is a secret as well, because some proxies take a token there.
        """
        secrets: set[str] = set()
        for url in filter(None, (self.proxies.http, self.proxies.https, self.proxies.other)):
            parts = urlsplit(url)
            if not parts.username and not parts.password:
                continue
            for part in (parts.password, None if parts.password else parts.username):
                secrets |= _forms(part or "")
            secrets |= {url, f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"}
        return tuple(sorted(secrets - {""}))


def _forms(part: str) -> set[str]:
    """Return a part of a URL as it is written, decoded, and encoded by the rules of each library that may quote it."""
    decoded = unquote(part)
    return {
        part,
        decoded,
        *(quote(decoded, safe=safe) for safe in ("", "/", "!$'()*,", "!$&'()*+,;=", "!$&'()*+,;=:@/")),
    }


DIRECT = Network()
"""No proxies, and no authorities beside those that each library trusts."""


def check_certificates(pem: str) -> None:
    """Check the text of a file of certificates. :raises ValueError: it has no certificate, or a broken one"""
    if _CERTIFICATE not in pem:
        raise ValueError("has no certificate in it")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise ValueError("has a certificate in it that can't be read") from None


def proxies_of(
    environ: Mapping[str, str],
    *,
    proxy_url: str | None = None,
    no_proxy: Iterable[ProxyException] | None = None,
) -> tuple[Proxies, tuple[str, ...]]:
    """Return the proxies that the settings and the environment name, and in words the parts of the environment that are
    ignored.

    HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY count in upper and lower case; the lower case wins, as in curl. An
    empty variable counts as one that is not set.

    :param proxy_url: for all traffic, instead of the environment's proxies
    :param no_proxy: instead of NO_PROXY
    """
    ignored: list[str] = []
    if no_proxy is None:
        name, text = _variable(environ, "no_proxy")
        no_proxy, ignored = _exceptions(name, text)
    exceptions = tuple(no_proxy)
    if proxy_url is not None:
        return Proxies(proxy_url, proxy_url, proxy_url, exceptions), tuple(ignored)
    found: dict[str, str | None] = {}
    for key in ("http_proxy", "https_proxy", "all_proxy"):
        name, url = _variable(environ, key)
        try:
            found[key] = check_proxy_url(url if "://" in url else f"http://{url}") if url else None
        except ValueError:
            found[key] = None
            ignored.append(f"{name} is ignored: it is no http:// or https:// address")
    everything = found["all_proxy"]
    proxies = Proxies(
        found["http_proxy"] or everything, found["https_proxy"] or everything, everything, exceptions
    )
    return proxies, tuple(ignored)


def _exceptions(name: str, text: str) -> tuple[list[ProxyException], list[str]]:
    exceptions, ignored = [], []
    for entry in filter(None, re.split(r"[,\s]+", text)):
        try:
            exceptions.append(parse_exception(entry))
        except ValueError as error:
            reason = str(error).partition("; ")[0]
            ignored.append(f"the entry {entry[:80]!r} of {name} is ignored: it {reason}")
    return exceptions, ignored


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the name of the variable that counts, and its value; empty: it is not set."""
    for used in (name, name.upper()):
        if value := environ.get(used, "").strip():
            return used, value
    return name.upper(), ""


def _normal_host(host: str) -> str:
    """Return a host in lower case, in its ASCII form, without brackets, zone or final dot."""
    host = host.lower().removeprefix("[").removesuffix("]").removesuffix(".").partition("%")[0]
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def _address(host: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(text: str) -> IPNetwork | None:
    if (address := _address(text)) is not None:
        return ipaddress.ip_network(address)
    if not re.fullmatch(r"[0-9a-f:.]+/[0-9]{1,3}", text):
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
