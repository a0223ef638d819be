"""The options of commands that ask the running service: where it is, and the credentials for it."""

import base64
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.shared import Failure

if TYPE_CHECKING:
    import ssl

    from router.cli.service_api import ServiceApi

DEFAULT_URL = "http://127.0.0.1:9099"
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """The address of the service, and the credentials for it."""

    url: str
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """The authorities (PEM) that have issued the service's certificate; None: those of the system."""
    client_cert: Path | None = None
    """This client's certificate and its key (PEM)."""

    def api(self, timeout: float | None = None) -> "ServiceApi":
        """Return a client, which is closed at the end of the command. It asks for the password if it is missing.

        :param timeout: seconds without an answer; None: half a minute
        """
        from router.cli.service_api import ServiceApi

        more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        if self.ca_file is not None or self.client_cert is not None:
            more["tls"] = self._tls()
        api = ServiceApi(self.url, self._authorization(), **more)
        if (context := click.get_current_context(silent=True)) is not None:
            context.call_on_close(api.close)
        return api

    def _tls(self) -> "ssl.SSLContext":
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.client_cert is not None:
                context.load_cert_chain(self.client_cert)
        except (OSError, ssl.SSLError) as error:
            raise Failure(f"--ca-file or --client-cert can't be used: {error.strerror or error}") from None
        return context

    def _authorization(self) -> str | None:
        if self.token:
            return f"Bearer {self.token}"
        if not self.user:
            return None
        password = self.password
        if password is None:
            password = click.prompt(f"Password of {self.user}", hide_input=True, err=True)
        return f"Basic {base64.b64encode(f'{self.user}:{password}'.encode()).decode()}"


_OPTIONS = (
    click.option(
        "--url", default=DEFAULT_URL, show_default=True, envvar="ALERT_ROUTER_URL", help="Where the service listens."
    ),
    click.option("--token", envvar="ALERT_ROUTER_TOKEN", help="The token of a user in routes.yaml, if it has users."),
    click.option("--user", envvar="ALERT_ROUTER_USER", help="The name of a user in routes.yaml, in place of a token."),
    click.option(
        "--password",
        envvar="ALERT_ROUTER_PASSWORD",
        help="The password of --user. Better give it by the variable, or type it when asked: other users of the machine can "
        "see a command line.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(path_type=Path),
        envvar="ALERT_ROUTER_CA_FILE",
        help="Trust the authorities in this file (PEM), if --url is https.  [default: those of the system]",
    ),
    click.option(
        "--client-cert",
        type=click.Path(path_type=Path),
        envvar="ALERT_ROUTER_CLIENT_CERT",
        help="Show this certificate, with its key in the same file (PEM), if the service asks for one.",
    ),
)  # fmt: skip
_NAMES = ("url", "token", "user", "password", "ca_file", "client_cert")


def service_options(command: Command) -> Command:
    """Add the options to a command. It gets a :class:`ServiceAddress` as ``service``."""

    @functools.wraps(command)
    def with_service(*arguments: Any, **options: Any) -> Any:
        service = ServiceAddress(**{name: options.pop(name) for name in _NAMES})
        return command(*arguments, service=service, **options)

    for add in reversed(_OPTIONS):
        with_service = add(with_service)
    return with_service


def service_of(context: click.Context) -> ServiceAddress:
    """Return the service that a command line names so far. It is for completion, so it never asks for a password."""
    given: dict[str, Any] = {}
    each: click.Context | None = context
    while each is not None:
        given |= {name: each.params[name] for name in _NAMES if each.params.get(name) and not given.get(name)}
        each = each.parent
    if given.get("user") and not given.get("password"):
        given.pop("user")
    return ServiceAddress(**{"url": DEFAULT_URL, **given})
