"""Who makes a request, and the role that a handler needs."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from router.model import Role

Handler = TypeVar("Handler", bound=Callable[[web.Request], Awaitable[web.StreamResponse]])
_ROLE_ATTRIBUTE = "needed_role"
_ACTION_ATTRIBUTE = "audited_action"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request."""

    name: str
    """The user's name; ``this machine`` for a request without credentials from a loopback address, ``anybody`` if the router
    is open to everybody.
    """
    role: Role
    via: str
    """How it was recognized: ``loopback``, ``password``, ``token``, ``proxy`` or ``open``."""

    def may(self, role: Role) -> bool:
        """Return whether it has this role, or a higher one."""
        return self.role >= role


PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)
"""Set by the access middleware for each request, except for those of open handlers."""


def needs(role: Role | None, action: str | None = None) -> Callable[[Handler], Handler]:
    """Declare the role that a handler needs; None: the handler is open to everybody, or checks credentials itself.

    :param action: what the handler does, for the log of actions, see :class:`router.web.api.endpoint.Endpoint`
    """

    def declare(handler: Handler) -> Handler:
        setattr(handler, _ROLE_ATTRIBUTE, role)
        setattr(handler, _ACTION_ATTRIBUTE, action)
        return handler

    return declare


def role_needed(handler: Any, method: str) -> Role | None:
    """Return the role that a handler needs. A handler that declares none needs view for reading, and admin otherwise."""
    default = Role.VIEW if method in {"GET", "HEAD", "OPTIONS"} else Role.ADMIN
    declared: Role | None = getattr(handler, _ROLE_ATTRIBUTE, default)
    return declared


def action_of(handler: Any) -> str | None:
    """Return what a handler does, for the log of actions; None: it declares nothing."""
    declared: str | None = getattr(handler, _ACTION_ATTRIBUTE, None)
    return declared


_ACTOR: ContextVar[Principal | None] = ContextVar("actor", default=None)


@contextmanager
def acting(principal: Principal) -> Iterator[None]:
    """Run a block for a principal, see :func:`actor`."""
    before = _ACTOR.set(principal)
    try:
        yield
    finally:
        _ACTOR.reset(before)


def actor() -> str:
    """Return the name of the principal for which the present operation runs; empty: there is none."""
    principal = _ACTOR.get()
    return principal.name if principal is not None else ""
