"""The command line. Commands are thin and start quickly: each imports what it works with when it runs.

Every option can come from the environment as ``ALERT_ROUTER_…``.
"""

import os

import click

from router.cli import offline, reading, remote, running
from router.cli.environment import PREFIX, unknown_variables


@click.group(context_settings={"auto_envvar_prefix": PREFIX, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="alert-router")
@click.pass_context
def main(context: click.Context) -> None:
    """Route Alertmanager's alerts to Slack, PagerDuty and email; lose none.

    Exit codes: 0: done, and the answer is good. 1: it can't be done, or the answer is bad (each command says when).
    2: the command line is wrong.
    """
    for warning in unknown_variables(context.command, os.environ):
        click.echo(warning, err=True)


for _module in (running, offline, remote, reading):
    for _command in _module.COMMANDS:
        main.add_command(_command)

__all__ = ["main"]
