"""``alert-router deliveries``: what was told and what was given up, asked of the running service."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import click

from router.cli.shared import Failure
from router.model import SECOND

_PATIENCE = aiohttp.ClientTimeout(total=30)


class _Service:
    """The running service, by its address."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._ask("GET", path)
        return answer

    def post(self, path: str) -> dict[str, str]:
        answer: dict[str, str] = self._ask("POST", path)
        return answer

    def _ask(self, method: str, path: str) -> Any:
        """:raises Failure: it doesn't answer, or refuses"""
        return asyncio.run(self._request(method, path))

    async def _request(self, method: str, path: str) -> Any:
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=_PATIENCE) as session,
                session.request(method, f"{self._url}{path}") as response,
            ):
                if response.content_type != "application/json":
                    raise Failure(f"{self._url} is no alert-router; give its --url")
                answer = await response.json()
                if response.status >= 400:
                    raise Failure(f"{path}: {answer.get('reason', response.reason)}")
                return answer
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            what = f"{self._url} does not answer ({type(error).__name__})"
            raise Failure(f"{what}; is `alert-router serve` running there?") from None


@click.group(invoke_without_command=True)
@click.option("--url", default="http://127.0.0.1:9099", show_default=True, envvar="ALERT_ROUTER_URL",
              help="Where the service listens.")  # fmt: skip
@click.option(
    "--token", envvar="ALERT_ROUTER_TOKEN", help="The bearer token of a source in routes.yaml, if it has any."
)
@click.option(
    "--dead", is_flag=True, help="What was given up and nobody has settled yet; exit code 1 if there is any."
)
@click.pass_context
def deliveries(context: click.Context, *, url: str, token: str | None, dead: bool) -> None:
    """The newest deliveries; what was given up, and what to do about it."""
    context.obj = service = _Service(url, token)
    if context.invoked_subcommand is not None:
        return
    if not dead:
        for row in service.get("/api/v1/deliveries"):
            outcome, reason = (
                row["outcome"] or "under way",
                ": ".join(filter(None, [row["reason"], row["words"]])),
            )
            click.echo(f"{_when(row['started_at'])}  {row['destination']}  attempt {row['attempt']}: {outcome}"
                       + (f" ({reason})" if reason else ""))  # fmt: skip
        return
    dead_letters = service.get("/api/v1/dead-letters")
    for dead_letter in dead_letters:
        where = ": ".join(filter(None, [dead_letter["destination"], dead_letter["recipient"]]))
        click.echo(f"{dead_letter['id']:>6}  {_when(dead_letter['at'])}  {where}: {dead_letter['reason']}")
        for alert in dead_letter["alerts"]:
            name = alert["labels"].get("alertname", "alert")
            click.echo(
                f"        {alert['level']} {name}: {alert['unnotified']} was not told; it is {alert['status']} now"
            )
    if dead_letters:
        click.echo(
            f"{len(dead_letters)} dead. Try again: deliveries retry ID; let rest: deliveries discard ID"
        )
        context.exit(1)
    click.echo("Nothing is dead.")


@deliveries.command()
@click.argument("dead_letters", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "all_", is_flag=True, help="Every one of them.")
@click.pass_obj
def retry(service: _Service, dead_letters: tuple[int, ...], *, all_: bool) -> None:
    """Try dead letters again: what of them is still so is told, the rest is obsolete."""
    _each(service, dead_letters, "retry", all_=all_)


@deliveries.command()
@click.argument("dead_letters", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "all_", is_flag=True, help="Every one of them.")
@click.pass_obj
def discard(service: _Service, dead_letters: tuple[int, ...], *, all_: bool) -> None:
    """Let dead letters rest: they were seen, and nobody is to be told."""
    _each(service, dead_letters, "discard", all_=all_)


@deliveries.command()
@click.argument("destination")
@click.pass_context
def resume(context: click.Context, destination: str) -> None:
    """Resume a destination (its key, like slack:C0CRITICAL) and try one delivery now. Exit code 1 if it fails."""
    service: _Service = context.obj
    done = service.post(f"/api/v1/destinations/{quote(destination, safe='')}/resume")
    status, reason = done["status"], done.get("reason", "")
    click.echo(f"{destination}: {status}" + (f": {reason}" if reason else ""))
    if status == "still broken":
        context.exit(1)


def _each(service: _Service, dead_letters: tuple[int, ...], action: str, *, all_: bool) -> None:
    if bool(dead_letters) is all_:
        raise click.UsageError("give the numbers of dead letters, or --all")
    chosen = (
        [dead_letter["id"] for dead_letter in service.get("/api/v1/dead-letters")] if all_ else dead_letters
    )
    for dead_letter in chosen:
        click.echo(f"{dead_letter}: {service.post(f'/api/v1/dead-letters/{dead_letter}/{action}')['status']}")


def _when(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


COMMANDS = (deliveries,)
