"""The stack of deploy/compose without containers: its files, with Debian's programs, the router and a mail catcher."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.acceptance.processes import ALERTMANAGER, ROOT, Router, answers, free_port, running, until
from tests.world.fake_smtp import FakeSmtp

PROMETHEUS = shutil.which("prometheus")
BLACKBOX = shutil.which("prometheus-blackbox-exporter")
NODE = shutil.which("prometheus-node-exporter")
needs_programs = pytest.mark.skipif(
    None in {ALERTMANAGER, PROMETHEUS, BLACKBOX, NODE, shutil.which("curl")},
    reason="needs: apt-get install curl prometheus prometheus-alertmanager prometheus-blackbox-exporter "
    "prometheus-node-exporter",
)
_QUERY = re.compile(r'(?:subject:(?P<subject>\w+) )?"(?P<words>\w+)"')


@dataclass(frozen=True)
class HandMadeStack:
    """The running stack, and the addresses of its parts."""

    compose: Path
    """A copy of deploy/compose, with its secrets."""
    router: Router
    alertmanager: str
    prometheus: str
    blackbox: str
    mailpit: str

    async def jobs(self) -> dict[str, bool]:
        """Return the jobs of Prometheus, and whether all their targets answer."""
        async with aiohttp.ClientSession() as session, session.get(
            f"{self.prometheus}/api/v1/query", params={"query": "min by (job) (up)"}
        ) as answer:  # fmt: skip
            found = (await answer.json())["data"]["result"]
        return {each["metric"]["job"]: each["value"][1] == "1" for each in found}

    async def validate(self, **environ: str) -> tuple[int, str, str]:
        """Run the script. :returns: its exit code, what it prints, and what it prints on standard error"""
        parts = {
            "ROUTER": self.router.url, "ALERTMANAGER": self.alertmanager, "PROMETHEUS": self.prometheus,
            "BLACKBOX": self.blackbox, "MAILPIT": self.mailpit, "GRAFANA": "", "LOKI": "",
        }  # fmt: skip
        return await run(self.compose / "validate", **(parts | environ))


async def run(script: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run a script. :returns: its exit code, what it prints, and what it prints on standard error"""
    process = await asyncio.create_subprocess_exec(
        script, *arguments, env={**os.environ, **environ}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode(), errors.decode()


async def prepared(folder: Path) -> Path:
    """Copy deploy/ and make its secrets. :returns: the copy of deploy/compose"""
    await asyncio.to_thread(shutil.copytree, ROOT / "deploy", folder / "deploy")
    compose = folder / "deploy" / "compose"
    code, _, errors = await run(
        compose / "prepare", HASH_PASSWORD=f"{sys.executable} -m router hash-password"
    )
    assert (code, errors) == (0, "")
    return compose


@contextlib.asynccontextmanager
async def hand_made_stack(folder: Path) -> AsyncIterator[HandMadeStack]:
    compose = await prepared(folder)
    alertmanager, prometheus, blackbox, node = (f"127.0.0.1:{free_port()}" for _ in range(4))
    async with FakeSmtp() as mail, _catcher(mail) as mailpit:
        routes = _on_this_machine(compose, (compose / "routes" / "routes.yaml").read_text())
        routes = routes.replace("http://alertmanager:9093", f"http://{alertmanager}")
        environ = {
            "SMTP_SMARTHOST": mail.smarthost, "SMTP_FROM": "alerts@example.com", "SMTP_TLS": "none",
            "MAIL_ONCALL": "oncall@example.com", "MAIL_TEAM": "team@example.com",
        }  # fmt: skip
        router = Router(folder, routes, environ=environ)
        names = {
            "alert-router:9099": f"127.0.0.1:{router.port}", "alertmanager:9093": alertmanager,
            "blackbox-exporter:9115": blackbox, "node-exporter:9100": node, "localhost:9090": prometheus,
        }  # fmt: skip
        for file in (
            compose / "state" / "alertmanager.yml", folder / "deploy" / "prometheus" / "prometheus.yml",
            *(compose / "targets").iterdir(),
        ):  # fmt: skip
            text = _on_this_machine(compose, file.read_text())
            for name, own in names.items():
                text = text.replace(name, own)
            # Only the waiting is shorter than in the files.
            text = re.sub(
                r"(group_wait|group_interval|evaluation_interval|scrape_interval): \w+", r"\1: 1s", text
            )
            file.write_text(text.replace("scrape_timeout: 10s", "scrape_timeout: 1s").replace("scrape_timeout: 15s", "scrape_timeout: 1s"))  # fmt: skip
        shutil.rmtree(folder / "deploy" / "prometheus" / "targets", ignore_errors=True)
        shutil.copytree(compose / "targets", folder / "deploy" / "prometheus" / "targets")
        async with (
            running(router),
            _program(ALERTMANAGER, f"--config.file={compose}/state/alertmanager.yml", f"--storage.path={folder}/am",
                     f"--web.listen-address={alertmanager}", "--cluster.listen-address=", ready=f"http://{alertmanager}/-/ready"),
            _program(BLACKBOX, f"--config.file={folder}/deploy/blackbox/blackbox.yml", f"--web.listen-address={blackbox}",
                     ready=f"http://{blackbox}/-/healthy"),
            _program(NODE, f"--web.listen-address={node}", ready=f"http://{node}/"),
            _program(PROMETHEUS, f"--config.file={folder}/deploy/prometheus/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                     f"--web.listen-address={prometheus}", ready=f"http://{prometheus}/-/ready"),
        ):  # fmt: skip
            yield HandMadeStack(
                compose,
                router,
                f"http://{alertmanager}",
                f"http://{prometheus}",
                f"http://{blackbox}",
                mailpit,
            )


def _on_this_machine(compose: Path, text: str) -> str:
    return text.replace("/run/secrets", f"{compose}/secrets")


@contextlib.asynccontextmanager
async def _program(path: str | None, *arguments: str, ready: str) -> AsyncIterator[None]:
    """Run a program, and return when this address answers."""
    assert path is not None
    process = await asyncio.create_subprocess_exec(
        path, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )

    async def is_ready() -> bool:
        assert process.returncode is None, f"{path} ended with {process.returncode}"
        return await answers(ready)

    try:
        await until(is_ready, f"{path} starts")
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def _catcher(smtp: FakeSmtp) -> AsyncIterator[str]:
    """The part of Mailpit's API that the script asks, over the mails of a fake server.

    https://mailpit.axllent.org/docs/api-v1/view.html#get-/api/v1/search
    """

    async def search(request: web.Request) -> web.Response:
        query = _QUERY.fullmatch(request.query["query"])
        if query is None:
            raise web.HTTPBadRequest(text="the catcher does not know such a query")
        found = [
            mail
            for mail in smtp.mails
            if query["words"] in mail.text and (query["subject"] or "") in mail.subject
        ]
        return web.json_response(
            {
                "total": len(smtp.mails),
                "messages_count": len(found),
                "messages": [{"Subject": mail.subject} for mail in found],
            }
        )

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/api/v1/search", search), web.get("/readyz", ready)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
