"""``alert-router serve``."""

import math
import re
import sys
from pathlib import Path

import click

from router.cli.shared import config_option, has_colors

_MIN_INTERVAL_MS = 60_000
_LOOPBACK, _ALL_INTERFACES = "127.0.0.1", "0.0.0.0"  # noqa: S104  (used only if the option asks for it)
DEFAULT_LISTEN = "127.0.0.1:9099"


class Listen(click.ParamType[tuple[str, int]]):
    """HOST:PORT, [IPv6]:PORT, PORT (loopback) or :PORT (all interfaces)."""

    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        is_host = (host.startswith("[") and host.endswith("]")) or not re.search(r"[\s/:\[\]]", host)
        if not is_host or not (port.isdecimal() and port.isascii()) or int(port) > 65535:
            todo = "write it like 127.0.0.1:9099, 9099 (loopback) or :9099 (all interfaces)"
            self.fail(f"{value!r} is not an address; {todo}", param, ctx)
        return host.strip("[]") or (_ALL_INTERFACES if colon else _LOOPBACK), int(port)


class BackupInterval(click.ParamType[int]):
    """A duration as Prometheus writes it, of a minute or more; as milliseconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from router.model.durations import parse_duration

        if isinstance(value, int):
            return value
        try:
            found = parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        if found < _MIN_INTERVAL_MS:
            self.fail(f"{value!r} is shorter than a minute", param, ctx)
        return found


@click.command()
@config_option
@click.option(
    "--listen",
    type=Listen(),
    default=DEFAULT_LISTEN,
    show_default=True,
    envvar="ALERT_ROUTER_LISTEN",
    help="Where to take webhooks: HOST:PORT, PORT (loopback) or :PORT (all interfaces).",
)
@click.option(
    "--database",
    envvar="ALERT_ROUTER_DATABASE",
    help="Where the state is kept: a file, or postgresql://user:password@host/database.  "
    "[default: sqlite:///state/router.db; a temporary file in a preview]",
)
@click.option(
    "--preview",
    is_flag=True,
    envvar="ALERT_ROUTER_PREVIEW",
    help="Send nothing; show every message on the page instead. Needs no credentials.",
)
@click.option(
    "--sample",
    is_flag=True,
    envvar="ALERT_ROUTER_SAMPLE",
    help="In a preview: play a sample incident on a Friday night.",
)
@click.option(
    "--replica-name",
    envvar="ALERT_ROUTER_REPLICA_NAME",
    help="The name of this replica, if several serve from one PostgreSQL database.  [default: the host's name and the port]",
)
@click.option(
    "--lease-seconds",
    type=click.IntRange(3, 60),  # AlertRouterLeaseNotHeld counts on it
    default=10,
    show_default=True,
    envvar="ALERT_ROUTER_LEASE_SECONDS",
    help="With replicas: after how many seconds without an answer the others take over from this one.",
)
@click.option(
    "--metrics/--no-metrics",
    default=True,
    show_default=True,
    envvar="ALERT_ROUTER_METRICS",
    help="Serve /metrics.",
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1024),
    default=16 * 2**20,
    show_default="16 MiB",
    envvar="ALERT_ROUTER_MAX_BODY",
    help="The largest webhook, in bytes, decompressed.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    default=4_096,
    show_default=True,
    envvar="ALERT_ROUTER_MAX_CONNECTIONS",
    help="The most connections in all. Beyond it, the one that has been idle longest is closed. "
    "Fewer if the process may open too few files.",
)
@click.option(
    "--max-connections-per-address",
    type=click.IntRange(min=1),
    default=1_024,
    show_default=True,
    envvar="ALERT_ROUTER_MAX_CONNECTIONS_PER_ADDRESS",
    help="The most connections of one client address. Beyond it, its connection that has been idle longest is closed.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    envvar="ALERT_ROUTER_TLS_CERT",
    help="Serve HTTPS with this certificate (PEM, with intermediate ones). It is read again when it changes.",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path),
    envvar="ALERT_ROUTER_TLS_KEY",
    help="The private key of --tls-cert (PEM, not encrypted).",
)
@click.option(
    "--tls-client-ca",
    type=click.Path(path_type=Path),
    envvar="ALERT_ROUTER_TLS_CLIENT_CA",
    help="Require a certificate of each client, issued by an authority in this file (PEM).",
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=8.0,
    show_default=True,
    envvar="ALERT_ROUTER_DRAIN",
    help="Seconds that a stop may take. For half of that time, the router still sends what is due.",
)
@click.option(
    "--watch",
    is_flag=True,
    envvar="ALERT_ROUTER_WATCH",
    help="Reload when routes.yaml changes, or a file that it names. SIGHUP and POST /-/reload do so at any time.",
)
@click.option(
    "--backup-to",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="ALERT_ROUTER_BACKUP_TO",
    help="Write backups of the database to this folder, also before an upgrade changes its tables. SQLite only.",
)
@click.option(
    "--backup-every",
    type=BackupInterval(),
    default="1d",
    show_default=True,
    envvar="ALERT_ROUTER_BACKUP_EVERY",
    help="How often to write a backup, like 1d or 6h.",
)
@click.option(
    "--backup-keep",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    envvar="ALERT_ROUTER_BACKUP_KEEP",
    help="How many backups to keep. Older ones are deleted; other files in the folder stay.",
)
@click.option(
    "--open",
    "is_open",
    is_flag=True,
    envvar="ALERT_ROUTER_OPEN",
    help="Without users in routes.yaml: let everybody who reaches the router read and do everything.",
)
@click.option(
    "--log",
    "log_form",
    type=click.Choice(["auto", "json", "human"]),
    default="auto",
    show_default=True,
    envvar="ALERT_ROUTER_LOG",
    help="The shape of log lines; auto: human on a terminal.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    envvar="ALERT_ROUTER_LOG_LEVEL",
    help="The least important log lines to write.",
)
def serve(  # noqa: PLR0913  (click passes each option as an argument)
    *, config: Path, listen: tuple[str, int], database: str | None, preview: bool, sample: bool,
    replica_name: str | None, lease_seconds: int, metrics: bool,
    max_body: int, max_connections: int, max_connections_per_address: int, tls_cert: Path | None, tls_key: Path | None,
    tls_client_ca: Path | None, drain: float, watch: bool, backup_to: Path | None,
    backup_every: int, backup_keep: int, is_open: bool, log_form: str, log_level: str,
) -> None:  # fmt: skip
    """Take webhooks and notify the destinations that the rules name.

    Exit code 1 if it can't start.
    """
    if not math.isfinite(drain):
        raise click.BadParameter(f"{drain} is not a number of seconds", param_hint="--drain")
    if sample and not preview:
        raise click.UsageError("--sample needs --preview: otherwise it would page people")
    _check_tls(tls_cert, tls_key, tls_client_ca, sample=sample)
    from router import logs
    from router.app import ServeOptions
    from router.backup_schedule import BackupOptions
    from router.cli.serving import serve_until_stopped
    from router.web import TlsFiles

    level = "warning" if preview and log_level == "info" else log_level
    logs.configure(log_form, level, colors=has_colors(sys.stderr))
    options = ServeOptions(
        config=config, listen=listen, database=database, preview=preview, sample=sample, metrics=metrics,
        max_body=max_body, drain=round(drain * 1_000), watch=watch, max_connections=max_connections,
        max_connections_per_address=max_connections_per_address,
        tls=TlsFiles(tls_cert, tls_key, tls_client_ca) if tls_cert is not None and tls_key is not None else None,
        is_open=is_open, replica=replica_name, lease_term=lease_seconds * 1_000,
        backups=None if backup_to is None else BackupOptions(backup_to, backup_every, backup_keep),
    )  # fmt: skip
    try:
        serve_until_stopped(options)
    finally:
        logs.flush_streams()


def _check_tls(cert: Path | None, key: Path | None, client_ca: Path | None, *, sample: bool) -> None:
    """:raises UsageError: the options don't fit together"""
    if (cert is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together: give both, or none")
    if client_ca is not None and cert is None:
        raise click.UsageError("--tls-client-ca needs --tls-cert and --tls-key")
    if sample and cert is not None:
        raise click.UsageError("--sample posts over plain HTTP: leave out --tls-cert and --tls-key")


COMMANDS = (serve,)
