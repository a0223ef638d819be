"""Runs commands for tests, with sample rules."""

from pathlib import Path

from click.testing import CliRunner, Result

from router.cli import main

ROOT = Path(__file__).parents[3]
RULES = ("--config", str(ROOT / "routes.yaml"))
GOOD = "receivers: {nobody: []}\nroute: {receiver: nobody}\n"


def run(*arguments: str, given: str = "", **environ: str) -> Result:
    """Run a command. :param given: standard input :param environ: variables that are set in addition to those of the process"""
    return CliRunner().invoke(main, arguments, input=given, env=environ)
