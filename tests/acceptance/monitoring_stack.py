"""Runs the configuration of ``deploy/`` in Debian's Prometheus, exporters and Alertmanager, on free ports and quickly."""

import asyncio
import json
import math
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ruamel.yaml import YAML

from tests.acceptance.processes import answers, free_port, until
from tests.deployed import DEPLOY, PROMETHEUS, load_yaml

_PACKAGES = {
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "prometheus-node-exporter": "prometheus-node-exporter",
}
missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
needs_monitoring = pytest.mark.skipif(bool(missing), reason=f"needs: apt-get install {' '.join(missing)}")
EVERY, LASTS = "2s", "4s"
"""How often everything is scraped and evaluated; and how long an alert lasts before it fires, so that one scrape that is
late on a busy machine makes none."""


def save_yaml(path: Path, data: Any) -> None:
    with path.open("w") as file:
        YAML().dump(json.loads(json.dumps(data)), file)  # without the anchors, which the dump would name anew


@asynccontextmanager
async def program(
    folder: Path, name: str, ready: str, environ: Mapping[str, str], *arguments: str
) -> AsyncIterator[None]:
    """Run a program until the end of the block. :param ready: the URL that answers 200 once it is ready"""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            name, *arguments, stdout=output, stderr=output, env={**os.environ, **environ}
        )

    async def is_ready() -> bool:
        if process.returncode is not None:
            pytest.fail(f"{name} ended:\n{log.read_text()}")
        return await answers(ready)

    try:
        await until(is_ready, f"{name} is ready")
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class MonitoringStack:
    """Prometheus with the deployed rules, the exporters, and Alertmanager with the deployed routes.

    :param router: the router's address, as ``host:port``
    :param tokens: the contents of the files in ``/run/secrets``, by name
    :param targets: what blackbox_exporter asks over HTTP
    :param smarthost: where Alertmanager's last resort sends its mail
    :param authority: a PEM file that blackbox_exporter trusts instead of the system's
    """

    def __init__(
        self,
        folder: Path,
        router: str,
        tokens: Mapping[str, str],
        targets: list[dict[str, Any]],
        smarthost: str,
        authority: Path | None = None,
    ) -> None:
        # https://pkg.go.dev/crypto/x509#SystemCertPool
        self._environ = {} if authority is None else {"SSL_CERT_FILE": str(authority)}
        self._folder = folder / "monitoring"
        shutil.copytree(DEPLOY, self._folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        self._secrets = folder / "secrets"
        self._secrets.mkdir()
        for name, token in tokens.items():
            (self._secrets / name).write_text(token)
        names = ("prometheus:9090", "alertmanager:9093", "node-exporter:9100", "blackbox-exporter:9115")
        self._addresses = {name: f"127.0.0.1:{free_port()}" for name in names} | {"alert-router:9099": router}
        self._addresses["smtp.example.com:587"] = smarthost
        self._addresses["localhost:9090"] = self._addresses["prometheus:9090"]
        self._configure_prometheus(targets)
        self._configure_alertmanager()

    @property
    def url(self) -> str:
        """Prometheus."""
        return f"http://{self._addresses['prometheus:9090']}"

    def _moved(self, text: str) -> str:
        """Return the text with the addresses and secrets of this test."""
        for name, address in self._addresses.items():
            text = text.replace(name, address)
        return text.replace("/run/secrets", str(self._secrets))

    def _configure_prometheus(self, targets: list[dict[str, Any]]) -> None:
        """Scrape and evaluate quickly."""
        path = self._folder / "prometheus" / "prometheus.yml"
        config = json.loads(self._moved(json.dumps(load_yaml(path))))
        config["global"] = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
        for job in config["scrape_configs"]:
            job |= {"scrape_interval": EVERY, "scrape_timeout": EVERY}
        save_yaml(path, config)
        save_yaml(path.parent / "targets" / "http.yml", targets)
        (path.parent / "targets" / "tcp.yml").write_text(
            self._moved((PROMETHEUS / "targets" / "tcp.yml").read_text())
        )
        for file in (path.parent / "rules").iterdir():
            rules = load_yaml(file)
            for group in rules["groups"]:
                group["interval"] = EVERY
                for rule in group["rules"]:
                    if "for" in rule:
                        rule["for"] = LASTS
            save_yaml(file, rules)

    def _configure_alertmanager(self) -> None:
        path = self._folder / "alertmanager" / "alertmanager.yml"
        config = json.loads(self._moved(json.dumps(load_yaml(path))))
        config["global"]["smtp_require_tls"] = False
        for route in (config["route"], *config["route"]["routes"]):
            route |= {"group_wait": "0s", "group_interval": EVERY}
        save_yaml(path, config)

    @asynccontextmanager
    async def run(self) -> AsyncIterator["MonitoringStack"]:
        folder, at = self._folder, self._addresses
        programs: list[tuple[str, str, str, tuple[str, ...]]] = [
            ("prometheus-node-exporter", "node-exporter:9100", "/", ()),
            ("prometheus-blackbox-exporter", "blackbox-exporter:9115", "/-/healthy",
             (f"--config.file={folder}/blackbox/blackbox.yml",)),
            ("prometheus-alertmanager", "alertmanager:9093", "/-/ready",
             (f"--config.file={folder}/alertmanager/alertmanager.yml", f"--storage.path={folder}/am", "--cluster.listen-address=")),
            ("prometheus", "prometheus:9090", "/-/ready",
             (f"--config.file={folder}/prometheus/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb")),
        ]  # fmt: skip
        async with AsyncExitStack() as stack:
            for name, address, path, arguments in programs:
                ready, listen = f"http://{at[address]}{path}", f"--web.listen-address={at[address]}"
                await stack.enter_async_context(
                    program(folder, name, ready, self._environ, listen, *arguments)
                )
            yield self

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what Prometheus answers now: each series with its labels and its value. NaN is no value."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/api/v1/query", data={"query": expression}) as answer,
        ):
            found = await answer.json()
        assert found["status"] == "success", (expression, found)
        data = found["data"]
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return [each for each in data["result"] if not math.isnan(float(each["value"][1]))]

    async def until_found(
        self, expression: str, is_good: Callable[[list[dict[str, Any]]], bool] = bool
    ) -> None:
        async def ready() -> bool:
            return is_good(await self.query(expression))

        await until(ready, expression)
