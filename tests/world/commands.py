"""Runs commands of the command line against a running service."""

import asyncio

from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from router.cli import main
from tests.world.conftest import World


async def run(world: World, command: str, *arguments: str, **environ: str) -> Result:
    """Run a command, which asks the service of the world. :param environ: variables of the environment"""
    assert world.service is not None
    variables = {"ALERT_ROUTER_URL": world.service.url, **environ}
    with capture_logs():  # the service, which is in this process, would log into the output
        given = [command, *arguments] if command else []
        return await asyncio.to_thread(CliRunner(env=variables).invoke, main, given, prog_name="alert-router")
