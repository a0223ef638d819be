"""Who may look at pages and act: the users of routes.yaml, and the proxy that may name them."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from router.model.settings import Role


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program that may use pages and the API."""

    name: str
    role: Role
    password_hash: str | None = field(default=None, repr=False)
    """A bcrypt hash; None: the user has no password."""
    token_hashes: tuple[str, ...] = field(default=(), repr=False)
    """The SHA-256 of each valid token, in lower-case hex."""


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """A proxy that has checked who asks, and says it in a header."""

    addresses: tuple[IPv4Network | IPv6Network, ...]
    """The header counts only in requests from these addresses."""
    user_header: str
    default_role: Role | None = None
    """The role of a name that is none of the users; None: it is refused."""


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """The sections ``users:`` and ``web:`` of routes.yaml."""

    users: tuple[User, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Host names by which the router is reached, in lower case; ``*.example.com`` stands for every name below it."""
    proxy: TrustedProxy | None = None

    @property
    def needs_credentials(self) -> bool:
        """Whether every request needs credentials, or a name from the trusted proxy."""
        return bool(self.users) or self.proxy is not None
