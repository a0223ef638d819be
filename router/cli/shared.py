"""What commands share."""

from pathlib import Path
from typing import IO, Any

import click

from router.clock import SystemClock
from router.model import Millis

config_option = click.option(
    "--config", type=click.Path(path_type=Path), default=Path("routes.yaml"), show_default=True, envvar="ALERT_ROUTER_CONFIG",
    help="The rules.",
)  # fmt: skip


def now() -> Millis:
    return SystemClock().now()


class Failure(click.ClickException):
    """Printed as it is: the message names the place itself."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=True)
