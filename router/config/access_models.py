"""The models of ``users:``, ``web:`` and the credentials of a source."""

import ipaddress
import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)

from router.channels.base import Section, is_placeholder

Network = IPv4Network | IPv6Network
MIN_COST = 10
"""The lowest cost of bcrypt that makes guessing slow. https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#bcrypt"""
# One check with this cost takes some seconds. Each step doubles it.
_MAX_COST = 15
_MAX_TOKENS = 2
_HASH_CHARS = 60
# https://en.wikipedia.org/wiki/Bcrypt#Description
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_OTHER_HASH = re.compile(r"\$(argon2\w*|scrypt|pbkdf2[\w-]*|apr1|1|5|6|7|y|sha1)\$")
_HTPASSWD_LINE = re.compile(r"[^:$]+:\$")
_TOKEN_HASH = re.compile(r"sha256:([0-9A-Fa-f]{64})")
_USER_NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,64}")
_HOST_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?:\*\.)?{_HOST_LABEL}(?:\.{_HOST_LABEL})*\.?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Every client sends these itself, so they say nothing about who the proxy let in.
_HEADERS_OF_CLIENTS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "host", "origin", "referer", "user-agent", "accept", "connection",
     "content-type", "content-length", "transfer-encoding", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
     "x-real-ip", "forwarded", "via"}
)  # fmt: skip
_MAKE_HASH = "make one with `alert-router hash-password`"
_MAKE_TOKEN = "make one with `alert-router new-token`"  # noqa: S105  (what a person should do)


def cost_of(password_hash: str) -> int:
    """Return the cost of a bcrypt hash."""
    return int(password_hash[4:6])


def _user_name(name: str) -> str:
    if not _USER_NAME.fullmatch(name):
        raise ValueError(
            "is no name of a user; write 1 to 64 letters, digits, '_', '.', '-', '+' and '@', like alice@example.com"
        )
    return name


def _password_hash(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if is_placeholder(text):
        return secret
    if (match := _BCRYPT.fullmatch(text)) is None:
        raise ValueError(f"{_what_is_wrong(text)}; {_MAKE_HASH}")
    cost = int(match.group(1))
    if not 4 <= cost <= _MAX_COST:
        raise ValueError(
            f"has the cost {cost}, and a check of it would take seconds or is impossible; {_MAKE_HASH}"
        )
    return secret


def _what_is_wrong(text: str) -> str:
    if _HTPASSWD_LINE.match(text):
        return "is a whole line of htpasswd, and only the part after the colon belongs here"
    if (other := _OTHER_HASH.match(text)) is not None:
        return f"is a hash of another kind (${other.group(1)}$), and only bcrypt is supported"
    if text.startswith("$2"):
        return (
            f"is a malformed bcrypt hash: it has {len(text)} characters, and a bcrypt hash has {_HASH_CHARS}"
            " (a shell replaces what follows a $ in double quotes)"
        )
    return "is no hash, perhaps the password itself, and only a bcrypt hash belongs here"


def _token_hash(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if is_placeholder(text):
        return secret
    if (match := _TOKEN_HASH.fullmatch(text)) is not None:
        return SecretStr(match.group(1).lower())
    if text.lower().startswith("sha256:"):
        raise ValueError(
            f"an entry is malformed: after sha256: there are {len(text) - 7} characters, and a SHA-256 has 64 "
            f"(0 to 9, a to f); {_MAKE_TOKEN}"
        )
    raise ValueError(
        "an entry is not the hash of a token, perhaps the token itself; "
        "write the line sha256:… that `alert-router new-token` prints with the token"
    )


def _few(tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if len(tokens) > _MAX_TOKENS:
        raise ValueError(
            f"{len(tokens)} entries, and two are enough to rotate a token: the old one and the new one; "
            "remove those that nobody uses any more"
        )
    return tokens


def _host_pattern(value: Any) -> str:
    text = str(value).strip().lower() if isinstance(value, str) else ""
    if text in {"*", "*."}:
        raise ValueError(
            "* is every host, and then the list protects from nothing; name the hosts, "
            "like router.example.com or *.example.com"
        )
    try:
        text = text.encode("idna").decode() if not text.isascii() else text
    except UnicodeError:
        text = ""
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(
            "an entry is no host name; write it without scheme, port and path, "
            "like router.example.com or *.example.com"
        )
    return text.rstrip(".")


def _network(value: Any) -> Network:
    text = value.strip() if isinstance(value, str) else ""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            "an entry is neither an address nor a network; write it like 10.0.0.7 or 10.0.0.0/24"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(
            f"{text} is every address, so anybody could name any user; write the addresses of the proxy"
        )
    if "/" in text and ipaddress.ip_interface(text).ip != network.network_address:
        raise ValueError(f"{text} is an address inside a network; write {network}")
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("is no name of a header; write it like X-Forwarded-User")
    if name.lower() in _HEADERS_OF_CLIENTS:
        raise ValueError(
            f"is {name}, which doesn't say who was let in; write the header that the proxy sets, like X-Forwarded-User"
        )
    return name


RoleName = Literal["view", "operate", "admin"]
PasswordHash = Annotated[SecretStr, AfterValidator(_password_hash)]


class SourceAuthModel(Section):
    """The user name of a source, and its password or the bcrypt hash of it."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["password"]}, {"required": ["password_hash"]}]}
    )

    username: str
    password: SecretStr | None = None
    password_hash: PasswordHash | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "SourceAuthModel":
        if (self.password is None) is (self.password_hash is None):
            raise ValueError("it has no password, or two; give password or password_hash")
        return self


class UserModel(Section):
    name: Annotated[str, AfterValidator(_user_name)]
    role: RoleName
    password_hash: PasswordHash | None = None
    tokens: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_token_hash)], ...], AfterValidator(_few)
    ] = ()


class TrustedProxyModel(Section):
    addresses: Annotated[
        tuple[Annotated[Network, BeforeValidator(_network), WithJsonSchema({"type": "string"})], ...],
        Field(min_length=1),
    ]
    user_header: Annotated[str, AfterValidator(_header_name)] = "X-Forwarded-User"
    default_role: RoleName | None = None


class WebModel(Section):
    """How the pages and the API are reached."""

    allowed_hosts: tuple[Annotated[str, BeforeValidator(_host_pattern)], ...] = ()
    trusted_proxy: TrustedProxyModel | None = None
