"""Builds the users and the trusted proxy from their models, and collects every mistake."""

import hashlib
from collections.abc import Mapping

from pydantic import SecretStr

from router.channels.base import is_placeholder
from router.config.access_models import MIN_COST, UserModel, WebModel, cost_of
from router.config.document import Document, Location, MissingVariables
from router.config.models import FileModel
from router.config.problems import Trap
from router.model import AccessSettings, Role, Source, TrustedProxy, User


class AccessBuilder:
    """Builds the sections ``users:`` and ``web:`` of one file."""

    def __init__(self, document: Document, file: FileModel | None) -> None:
        """:param file: None: the file has mistakes that prevent further checks"""
        self._document = document
        self._users = file.users if file is not None else ()
        self._web = file.web if file is not None else WebModel()

    def build(self, sources: tuple[Source, ...]) -> AccessSettings:
        """Return the settings, and add an error for each name or credential that can't be used.

        :param sources: the sources of the same file, whose credentials may be none of a user
        """
        known: dict[str, str] = {}
        owners: dict[str, str] = {}
        users = []
        for index, model in enumerate(self._users):
            where = ("users", index)
            self._check_name(model, where, known)
            user = _user(model)
            self._check_tokens(user, where, owners)
            given = model.password_hash is not None or model.tokens
            if not given and self._web.trusted_proxy is None:
                what = f"the user {model.name!r} has no credentials, and can't sign in"
                todo = "add password_hash or tokens; or web.trusted_proxy, if a proxy names the users"
                self._document.add_error((*where, "name"), what, todo)
            has_credentials = user.password_hash is not None or user.token_hashes
            # A preview makes up what is missing, and nobody can sign in with that.
            if (
                has_credentials
                or self._web.trusted_proxy
                or self._document.missing is not MissingVariables.MADE_UP
            ):
                users.append(user)
        self._check_sources(sources, users, owners)
        return AccessSettings(tuple(users), self._web.allowed_hosts, self._proxy())

    def warn_of_weak(self, sources: tuple[Source, ...]) -> None:
        """Add a warning for each credential that is easy to guess, and each role that is given away easily."""
        hashes: list[tuple[Location, str, SecretStr | str | None]] = [
            (("users", index, "password_hash"), f"the user {each.name!r}", each.password_hash)
            for index, each in enumerate(self._users)
        ]
        hashes += [
            (
                ("sources", index, "basic_auth", "password_hash"),
                f"the source {each.name!r}",
                each.password_hash,
            )
            for index, each in enumerate(sources)
        ]
        for where, owner, secret in hashes:
            text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
            if text is None or is_placeholder(text) or cost_of(text) >= MIN_COST:
                continue
            what = f"the password of {owner} can be guessed fast: the cost of its hash is {cost_of(text)}, below {MIN_COST}"
            self._document.add_warning(
                Trap.WEAK, where, what, "make a new hash with `alert-router hash-password`"
            )
        proxy = self._web.trusted_proxy
        if proxy is not None and proxy.default_role not in {None, "view"}:
            what = f"everybody whom the proxy lets in has the role {proxy.default_role}, also names that are no users"
            todo = "write `default_role: view`, and name those who may do more in `users:`"
            self._document.add_warning(Trap.WEAK, ("web", "trusted_proxy", "default_role"), what, todo)

    def _check_name(self, model: UserModel, where: Location, known: dict[str, str]) -> None:
        """:param known: the names of the earlier users, by their form in lower case; this one is added"""
        folded = model.name.casefold()
        other = known.get(folded)
        known.setdefault(folded, model.name)
        if other is None:
            return
        what = f"there are two users {model.name!r}"
        if other != model.name:
            what = f"the users {other!r} and {model.name!r} differ only in upper and lower case"
        self._document.add_error((*where, "name"), what, "give each its own name")

    def _check_tokens(self, user: User, where: Location, owners: dict[str, str]) -> None:
        """:param owners: the name of the user of each token of the earlier users; these are added"""
        for number, token in enumerate(user.token_hashes):
            other = owners.get(token)
            if other is not None:
                what = (
                    f"the user {user.name!r} has the same token twice"
                    if other == user.name
                    else f"the users {other!r} and {user.name!r} have the same token"
                )
                self._document.add_error((*where, "tokens", number), what, "give each token once")
            owners.setdefault(token, user.name)

    def _check_sources(
        self, sources: tuple[Source, ...], users: list[User], owners: Mapping[str, str]
    ) -> None:
        """Add an error if credentials of a source are also those of a user or of another source."""
        if self._document.missing is MissingVariables.MADE_UP:
            return
        names = {each.name for each in users}
        hashed: dict[str, str] = {}
        for index, source in enumerate(sources):
            where = ("sources", index)
            if source.bearer_token is not None and (owner := owners.get(_sha256(source.bearer_token))):
                what = f"the source {source.name!r} and the user {owner!r} have the same token"
                self._document.add_error(
                    (*where, "bearer_token"), what, "give each its own: a source may only post"
                )
            if source.password_hash is None or source.username is None:
                continue
            if source.username in names:
                what = f"{source.username!r} is the name of a user, and the username of the source {source.name!r}"
                todo = "give the source another username: a source may only post"
                self._document.add_error((*where, "basic_auth", "username"), what, todo)
            other = hashed.setdefault(source.username, source.name)
            if other != source.name:
                what = f"the sources {other!r} and {source.name!r} have the same username"
                todo = "give each its own: hashes can't be compared, so the username identifies the source"
                self._document.add_error((*where, "basic_auth", "username"), what, todo)

    def _proxy(self) -> TrustedProxy | None:
        model = self._web.trusted_proxy
        if model is None:
            return None
        if model.default_role is None and not self._users:
            what = "the proxy lets nobody in: there are no users, and no default_role"
            self._document.add_error(("web", "trusted_proxy"), what, "add `users:`, or `default_role: view`")
        role = None if model.default_role is None else Role[model.default_role.upper()]
        return TrustedProxy(model.addresses, model.user_header, role)


def _user(model: UserModel) -> User:
    secret = model.password_hash
    password_hash = None if secret is None else secret.get_secret_value()
    if password_hash is not None and is_placeholder(password_hash):
        password_hash = None
    tokens = (each.get_secret_value() for each in model.tokens)
    return User(
        model.name,
        Role[model.role.upper()],
        password_hash,
        tuple(each for each in tokens if not is_placeholder(each)),
    )


def _sha256(token: str) -> str:
    # The environment holds bytes that are not UTF-8 as lone surrogates.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
