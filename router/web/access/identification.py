"""Finds out who makes a request: a user, this machine, or a source of webhooks."""

import hashlib
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from aiohttp import web

from router.model import AccessSettings, Role, Source, TrustedProxy, User
from router.package import docs_page
from router.web.access.authorization import BasicCredentials, BearerToken, Credentials, parse_authorization
from router.web.access.password_checks import PasswordChecks, TooManyChecks
from router.web.access.peers import AccessOptions, address_of, is_from_this_machine, network_of
from router.web.access.principal import Principal
from router.web.access.refused_lines import RefusedLines
from router.web.access.source_credentials import (
    Unauthorized,
    candidates_of,
    source_with,
    unlocked_source,
    what_to_do,
)

_MAX_PROXY_NAME_CHARS = 128
_THIS_MACHINE = Principal("this machine", Role.ADMIN, "loopback")
_ANYBODY = Principal("anybody", Role.ADMIN, "open")
_NOT_LOCAL = (
    "Without `users:` in routes.yaml, pages and actions are only for this machine, and not through a proxy. "
    f"Add users, or `web: trusted_proxy:`; see {docs_page('configuration')}."
)
_NOT_ALONE = (
    "The router listens for other machines, and there are no `users:` in routes.yaml. Add users, or `web: trusted_proxy:`; "
    f"see {docs_page('configuration')}."
)
_MISSING = "Sign in: this address needs the credentials of a user in routes.yaml."
_WRONG = "The user name or the password or the token is wrong, or there is no such user."
_OF_A_SOURCE = "These credentials belong to a source. A source may post webhooks and nothing else; use those of a user in routes.yaml."
_NO_NAME = "The proxy named no user in the header {header}, so the request is refused."
_UNKNOWN_NAME = (
    "The proxy let in a user who is none of the `users:` in routes.yaml, and there is no default_role. "
    "Add the user, or set `web: trusted_proxy: default_role:`."
)


class AccessRefused(Exception):  # noqa: N818  (names the condition)
    """A request is refused.

    :param status: of HTTP
    :param reason: the label of the metric
    :param detail: what happened and what to do; it holds no secret
    """

    def __init__(self, status: int, reason: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class _Accounts:
    """The users and sources in force, by what they are found by."""

    settings: AccessSettings
    sources: tuple[Source, ...]
    by_name: dict[str, User] = field(init=False)
    by_token: dict[str, User] = field(init=False)
    """By the SHA-256 of the token, in hex. The time of a look-up tells nothing about a token, because of the hash."""
    hashes: tuple[str, ...] = field(init=False)
    """Those of all users and sources."""

    def __post_init__(self) -> None:
        users = self.settings.users
        object.__setattr__(self, "by_name", {each.name: each for each in users})
        object.__setattr__(self, "by_token", {token: each for each in users for token in each.token_hashes})
        found = (*(each.password_hash for each in users), *(each.password_hash for each in self.sources))
        object.__setattr__(self, "hashes", tuple(each for each in found if each))


@dataclass(frozen=True, slots=True)
class _Remembered:
    """Who the last request of a connection came from."""

    accounts: _Accounts
    authorization: str = field(repr=False)
    name: str | None
    """The source that the address named."""
    found: Principal | Source


class Identification:
    """Finds out who makes a request, by its credentials or by where it comes from.

    What one connection has proved is remembered with it, so that a sender that keeps its connection pays nothing for the next
    requests. It is forgotten when routes.yaml is loaded again.
    """

    def __init__(self, options: AccessOptions | None = None, checks: PasswordChecks | None = None) -> None:
        self.options = options or AccessOptions()
        self.checks = checks or PasswordChecks()
        self.refused_lines = RefusedLines()
        self._accounts = _Accounts(AccessSettings(), ())
        self._connections: WeakKeyDictionary[object, _Remembered] = WeakKeyDictionary()

    async def principal_of(
        self, request: web.Request, settings: AccessSettings, sources: tuple[Source, ...]
    ) -> Principal:
        """Return who makes a request for a page, for the API, or for an action.

        :raises AccessRefused: it is nobody who may; or it can't be found out now
        """
        if not settings.needs_credentials:
            return self._without_users(request)
        proxy = settings.proxy
        if proxy is not None and _is_from(request, proxy):
            names = request.headers.getall(proxy.user_header, [])
            if names and (names != [""] or "Authorization" not in request.headers):
                return _named_by_proxy(names, proxy, settings)
            if "Authorization" not in request.headers:
                raise AccessRefused(401, "proxy", _NO_NAME.format(header=proxy.user_header))
        given = request.headers.get("Authorization", "")
        if not given:
            raise AccessRefused(401, "no_credentials", _MISSING)
        accounts = self._in_force(settings, sources)
        known = self._remembered(request, accounts, given, None)
        if isinstance(known, Principal):
            return known
        principal = await self._with_credentials(request, accounts, given)
        self._remember(request, _Remembered(accounts, given, None, principal))
        return principal

    def _without_users(self, request: web.Request) -> Principal:
        if self.options.is_open:
            return _ANYBODY
        if not self.options.is_loopback_only:
            raise AccessRefused(401, "not_local", _NOT_ALONE)
        if not is_from_this_machine(request):
            raise AccessRefused(401, "not_local", _NOT_LOCAL)
        return _THIS_MACHINE

    async def _with_credentials(self, request: web.Request, accounts: _Accounts, given: str) -> Principal:
        credentials = parse_authorization(given)
        user, via = None, ""
        match credentials:
            case BearerToken(token):
                user, via = accounts.by_token.get(_sha256(token)), "token"
            case BasicCredentials():
                user, via = await self._with_password(request, accounts, given, credentials), "password"
        if user is not None:
            return Principal(user.name, user.role, via)
        if await self._is_of_a_source(request, accounts, given, credentials):
            raise AccessRefused(403, "source", _OF_A_SOURCE)
        raise AccessRefused(401, "wrong_credentials", _WRONG)

    async def _with_password(
        self, request: web.Request, accounts: _Accounts, given: str, credentials: BasicCredentials
    ) -> User | None:
        user = accounts.by_name.get(credentials.user)
        of_source = any(each.password_hash and each.username == credentials.user for each in accounts.sources)
        if user is None and of_source:
            return None  # its hash is checked next
        password_hash = user.password_hash if user is not None else None
        is_right = await self._is_right(request, accounts, given, credentials, password_hash)
        return user if is_right else None

    async def _is_of_a_source(
        self, request: web.Request, accounts: _Accounts, given: str, credentials: Credentials | None
    ) -> bool:
        if source_with(credentials, accounts.sources) is not None:
            return True
        if not isinstance(credentials, BasicCredentials) or credentials.user in accounts.by_name:
            return False
        hashed = _with_hash(accounts.sources, credentials)
        return hashed is not None and await self._is_right(
            request, accounts, given, credentials, hashed.password_hash
        )

    async def _is_right(
        self, request: web.Request, accounts: _Accounts, given: str, credentials: BasicCredentials,
        password_hash: str | None, *, webhook: bool = False,
    ) -> bool:  # fmt: skip
        """Check a password. An unknown name costs the same as a known one.

        :param password_hash: None: the name is unknown, or has no password
        """
        checked = password_hash or self.checks.stand_in_hash(credentials.user, accounts.hashes)
        if checked is None:
            return False
        try:
            guesser = network_of(_client_of(request, accounts.settings.proxy))
            is_right = await self.checks.is_right(
                guesser, given, credentials.password, checked, webhook=webhook
            )
        except TooManyChecks as error:
            raise AccessRefused(error.status, "busy", str(error), retry_after=error.seconds) from None
        return is_right and password_hash is not None

    async def source_of(
        self, request: web.Request, settings: AccessSettings, sources: tuple[Source, ...], name: str | None
    ) -> Source:
        """Return the source that a webhook comes from. Only its headers are read.

        :param name: the source's name, if the address gives it (``/webhook/{source}``)
        :raises Unauthorized: it belongs to no source; the message says what to do
        :raises AccessRefused: it can't be found out now
        """
        given = request.headers.get("Authorization", "")
        candidates = candidates_of(sources, name)
        credentials = parse_authorization(given) if given else None
        if (source := source_with(credentials, candidates)) is not None:
            return source
        if isinstance(credentials, BasicCredentials) and any(each.password_hash for each in candidates):
            accounts = self._in_force(settings, sources)
            known = self._remembered(request, accounts, given, name)
            if isinstance(known, Source):
                return known
            found = _with_hash(candidates, credentials)
            password_hash = found.password_hash if found is not None else None
            is_right = await self._is_right(
                request, accounts, given, credentials, password_hash, webhook=True
            )
            if is_right and found is not None:
                self._remember(request, _Remembered(accounts, given, name, found))
                return found
        unlocked = unlocked_source(request, candidates, given, self.options)
        if unlocked is None:
            raise Unauthorized(what_to_do(sources, candidates, given, self.options))
        return unlocked

    def _in_force(self, settings: AccessSettings, sources: tuple[Source, ...]) -> _Accounts:
        if settings is not self._accounts.settings or sources is not self._accounts.sources:
            self._accounts = _Accounts(settings, sources)
            self.checks.forget()
        return self._accounts

    def _remembered(
        self, request: web.Request, accounts: _Accounts, given: str, name: str | None
    ) -> Principal | Source | None:
        connection = _connection_of(request)
        known = None if connection is None else self._connections.get(connection)
        if (
            known is None
            or known.accounts is not accounts
            or (known.authorization, known.name) != (given, name)
        ):
            return None
        return known.found

    def _remember(self, request: web.Request, remembered: _Remembered) -> None:
        connection = _connection_of(request)
        if connection is not None:
            self._connections[connection] = remembered

    async def close(self) -> None:
        await self.checks.close()


def _connection_of(request: web.Request) -> object | None:
    """Return what stands for the connection of a request and can be referred to weakly; None: nothing can. Then the cache of
    password checks does.

    The transport of uvloop can, but not the one for TLS. The protocol can, if its class allows it.
    """
    for each in (request.transport, request.protocol):
        if each is not None and type(each).__weakrefoffset__:
            return each
    return None


def _is_from(request: web.Request, proxy: TrustedProxy) -> bool:
    address = address_of(request.remote or "")
    return address is not None and any(address in network for network in proxy.addresses)


def _client_of(request: web.Request, proxy: TrustedProxy | None) -> str:
    """Return the address that wrong passwords count against: the peer's. Through the trusted proxy, it is the address that
    the proxy added last to ``X-Forwarded-For``, so that one client can't lock out the others.
    """
    peer = request.remote or ""
    if proxy is None or not _is_from(request, proxy):
        return peer
    client = ",".join(request.headers.getall("X-Forwarded-For", [])).rpartition(",")[2].strip()
    return client if address_of(client) is not None else peer


def _named_by_proxy(names: list[str], proxy: TrustedProxy, settings: AccessSettings) -> Principal:
    name = names[0].strip()
    if len(names) != 1 or not name or not name.isprintable() or len(name) > _MAX_PROXY_NAME_CHARS:
        raise AccessRefused(401, "proxy", _NO_NAME.format(header=proxy.user_header))
    user = next((each for each in settings.users if each.name == name), None)
    if user is not None:
        return Principal(user.name, user.role, "proxy")
    if proxy.default_role is None:
        raise AccessRefused(401, "proxy", _UNKNOWN_NAME)
    return Principal(name, proxy.default_role, "proxy")


def _with_hash(sources: tuple[Source, ...], credentials: BasicCredentials) -> Source | None:
    return next((each for each in sources if each.password_hash and each.username == credentials.user), None)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
