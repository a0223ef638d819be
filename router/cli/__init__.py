"""The command line: thin. Every option can come from the environment as ``ALERT_ROUTER_…``."""

import click

from router.cli import offline, reading, remote, running


@click.group(context_settings={"auto_envvar_prefix": "ALERT_ROUTER", "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="alert-router")
def main() -> None:
    """Route Alertmanager's alerts to Slack, PagerDuty and email; lose none."""


for _module in (running, offline, remote, reading):
    for _command in _module.COMMANDS:
        main.add_command(_command)

__all__ = ["main"]
