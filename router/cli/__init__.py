"""The command line. Commands start quickly, because each imports its modules only when it runs.

Every option can come from the environment as ``ALERT_ROUTER_…``.
"""

import os

import click

from router.cli import (
    alert_commands,
    backup_commands,
    credentials,
    delivery_commands,
    digest_command,
    docs_command,
    drills_command,
    explain_command,
    healthcheck_command,
    incident_command,
    init_command,
    objective_command,
    offline,
    reading,
    rendering,
    replicas_command,
    running,
    schema_command,
    send_test_command,
    state_commands,
    status_command,
)
from router.cli.environment import PREFIX, unknown_variables


@click.group(context_settings={"auto_envvar_prefix": PREFIX, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="alert-router")
@click.pass_context
def main(context: click.Context) -> None:
    """Route Alertmanager's alerts to Slack, PagerDuty and email; lose none.

    Exit codes: 0: success. 1: the command failed, or found a problem (see the help of each command). 2: the command
    line is wrong.
    """
    for warning in unknown_variables(context.command, os.environ):
        click.echo(warning, err=True)


_MODULES = (
    running, offline, explain_command, rendering, status_command, alert_commands, delivery_commands, digest_command,
    send_test_command, drills_command, incident_command, reading, objective_command, replicas_command, credentials,
    backup_commands, state_commands, docs_command, init_command, healthcheck_command, schema_command,
)  # fmt: skip
for _module in _MODULES:
    for _command in _module.COMMANDS:
        main.add_command(_command)

__all__ = ["main"]
