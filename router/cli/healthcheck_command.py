"""``alert-router healthcheck``: asks the service on this machine whether it runs, for the health check of a container."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.running import DEFAULT_LISTEN, Listen
from router.cli.shared import Failure
from router.cli.terminal import printable

if TYPE_CHECKING:
    import http.client
    import ssl

# A service that listens on all interfaces also listens on the loopback address.
_OWN_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  (it is compared, not used)
_MAX_ANSWER_BYTES = 1_000


@click.command()
@click.option(
    "--listen",
    type=Listen(),
    default=DEFAULT_LISTEN,
    show_default=True,
    envvar="ALERT_ROUTER_LISTEN",
    help="Where the service listens, as its own --listen.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    envvar="ALERT_ROUTER_TLS_CERT",
    help="The service speaks HTTPS, as its own --tls-cert. The file is not read.",
)
@click.option(
    "--tls-client-ca",
    type=click.Path(path_type=Path),
    envvar="ALERT_ROUTER_TLS_CLIENT_CA",
    help="The service asks for a client certificate, as its own --tls-client-ca. Without --client-cert, a TLS handshake is "
    "enough. The file is not read.",
)
@click.option(
    "--client-cert",
    type=click.Path(path_type=Path),
    envvar="ALERT_ROUTER_CLIENT_CERT",
    help="Show this certificate, with its key in the same file (PEM), if the service asks for one.",
)
@click.option("--ready", is_flag=True, help="Ask whether it can store a webhook, not only whether it runs.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=600),
    default=2.0,
    show_default=True,
    help="Seconds to wait for the connection, and for the answer.",
)
def healthcheck(
    *, listen: tuple[str, int], tls_cert: Path | None, tls_client_ca: Path | None, client_cert: Path | None, ready: bool,
    timeout: float,
) -> None:  # fmt: skip
    """Ask the service on this machine whether it runs.

    It reads the variables that `serve` reads, so it follows the service's address and its TLS. Exit code 1 if the service
    does not answer, or says no.
    """
    import http.client

    is_anonymous = tls_client_ca is not None and client_cert is None
    if is_anonymous and ready:
        raise click.UsageError("--ready needs --client-cert, because the service asks for one")
    connection = _connection(listen, None if tls_cert is None else _tls(client_cert), timeout)
    try:
        connection.connect()
        if is_anonymous:
            click.echo("alive: its TLS answers")
            return
        connection.request("GET", "/readyz" if ready else "/healthz", headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        words = printable(answer.read(_MAX_ANSWER_BYTES).decode(errors="replace").strip())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Failure(f"{_shown(connection)} does not answer: {_words(error)}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise Failure(f"{_shown(connection)} answers {answer.status}: {words}")
    click.echo(words)


def _connection(
    listen: tuple[str, int], tls: "ssl.SSLContext | None", timeout: float
) -> "http.client.HTTPConnection":
    """:param timeout: seconds"""
    import http.client

    host, port = listen
    if port == 0:
        raise Failure("--listen has port 0, so the port of the service is not known; give it")
    own = _OWN_ADDRESSES.get(host, host)
    if tls is None:
        return http.client.HTTPConnection(own, port, timeout=timeout)
    return http.client.HTTPSConnection(own, port, timeout=timeout, context=tls)


def _tls(client_cert: Path | None) -> "ssl.SSLContext":
    """Return a context that trusts any certificate: the connection does not leave the machine, its answer is no secret, and
    the certificate need not name the loopback address.

    :raises Failure: the client's certificate can't be used
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client_cert is not None:
        try:
            context.load_cert_chain(client_cert)
        except OSError as error:
            raise Failure(f"--client-cert can't be used: {_words(error)}") from None
    return context


def _shown(connection: "http.client.HTTPConnection") -> str:
    host = f"[{connection.host}]" if ":" in connection.host else connection.host
    return f"{host}:{connection.port}"


def _words(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error).strip() or type(error).__name__)


COMMANDS = (healthcheck,)
