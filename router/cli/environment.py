"""Environment variables: the names that options read, and a warning about names that no option reads."""

import difflib
import re
from collections.abc import Iterator, Mapping

import click

from router.package import docs_page

PREFIX = "ALERT_ROUTER"
# Kubernetes sets these in each container of a namespace that has a service named alert-router.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_KUBERNETES = re.compile(
    rf"{PREFIX}_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


def unknown_variables(command: click.Command, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable ``ALERT_ROUTER_…`` that no option of the command or its subcommands reads."""
    known = set(known_variables(command, PREFIX))
    for name in sorted(environ):
        if name.startswith(f"{PREFIX}_") and name not in known and not _KUBERNETES.fullmatch(name):
            close = difflib.get_close_matches(name, known, n=1)
            todo = (
                f"did you mean {close[0]}?" if close else f"{docs_page('command-line')} lists those it reads"
            )
            yield f"warning: no option reads the environment variable {name}; {todo}"


def known_variables(command: click.Command, prefix: str) -> Iterator[str]:
    """Yield the names of the variables that a command's options read, and those of its subcommands' options.

    :param prefix: what Click puts before an option's name, see ``auto_envvar_prefix`` in
        https://click.palletsprojects.com/en/stable/options/#values-from-environment-variables
    """
    for option in command.params:
        if isinstance(option, click.Option) and option.name is not None:
            names = option.envvar
            yield from [names] if isinstance(names, str) else names or [f"{prefix}_{option.name.upper()}"]
            if names is not None and option.allow_from_autoenv:
                yield f"{prefix}_{option.name.upper()}"
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            yield from known_variables(subcommand, f"{prefix}_{name.upper().replace('-', '_')}")
