"""Debian's nginx and HAProxy, with the configurations that docs/howto has, before routers of a test."""

import asyncio
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.processes import ROOT, free_port, until
from tests.certificates import Authority

HOWTO = ROOT / "docs" / "howto"
NAME = "alerts.example.com"
"""The name in the configurations."""
_PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
NGINX, HAPROXY = (shutil.which(program, path=_PATH) for program in ("nginx", "haproxy"))
needs_nginx = pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx-light")
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="needs HAProxy: apt-get install haproxy")


@dataclass(frozen=True, slots=True)
class Proxy:
    url: str
    context: ssl.SSLContext
    """It trusts the certificate of the proxy."""
    log: Path


def replaced(text: str, words: Mapping[str, str]) -> str:
    """Return a text with other words, all of which have to be there."""
    for old, new in words.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def upstream_of_replicas() -> str:
    """Return the ``upstream`` that docs/howto/replicas.md gives for nginx.conf."""
    (found,) = re.findall(
        r"^```nginx\n(upstream .*?)^```", (HOWTO / "replicas.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return str(found)


@asynccontextmanager
async def nginx(folder: Path, ports: Sequence[int]) -> AsyncIterator[Proxy]:
    """Start nginx with docs/howto/nginx.conf. :param ports: of the routers: one, or two replicas"""
    site = (HOWTO / "nginx.conf").read_text()
    if len(ports) == 1:
        site = replaced(site, {"127.0.0.1:9099": f"127.0.0.1:{ports[0]}"})
    else:
        site = re.sub(
            r"^upstream .*?^\}\n", upstream_of_replicas(), site, count=1, flags=re.MULTILINE | re.DOTALL
        )
        site = replaced(site, _addresses(ports))
    authority = Authority(folder, "authority")
    pair, port, log = authority.issue("server"), free_port(), folder / "nginx.log"
    files = {f"/etc/ssl/{NAME}.pem": str(pair.certificate), f"/etc/ssl/{NAME}.key": str(pair.key)}
    site = replaced(site, files | {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl"})
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/nginx-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {log};\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{site}\n}}\n"
    )
    command = (str(NGINX), "-p", str(folder), "-c", str(config), "-e", str(log))
    async with _running(command, port, authority, log) as proxy:
        yield proxy


def haproxy_config(folder: Path, ports: Sequence[int], port: int, authority: Authority) -> Path:
    """Write docs/howto/haproxy.cfg with other addresses. :param port: where it listens"""
    pair = authority.issue("server")
    both = folder / "haproxy.pem"
    both.write_text(pair.certificate.read_text() + pair.key.read_text())
    words = {f"/etc/haproxy/{NAME}.pem": str(both), "bind :443": f"bind 127.0.0.1:{port}"}
    config = folder / "haproxy.cfg"
    config.write_text(replaced((HOWTO / "haproxy.cfg").read_text(), words | _addresses(ports)))
    return config


@asynccontextmanager
async def haproxy(folder: Path, ports: Sequence[int]) -> AsyncIterator[Proxy]:
    """Start HAProxy with docs/howto/haproxy.cfg. :param ports: of two replicas"""
    authority, port = Authority(folder, "authority"), free_port()
    command = (str(HAPROXY), "-db", "-f", str(haproxy_config(folder, ports, port, authority)))
    async with _running(command, port, authority, folder / "haproxy.log") as proxy:
        yield proxy


def _addresses(ports: Sequence[int]) -> dict[str, str]:
    return {f"router-{number}:9099": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}


@asynccontextmanager
async def _running(
    command: Sequence[str], port: int, authority: Authority, log: Path
) -> AsyncIterator[Proxy]:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    proxy = Proxy(f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=authority.file), log)

    async def ready() -> bool:
        assert process.returncode is None, f"see {log}"
        try:
            asked = f"{proxy.url}/healthz"
            async with aiohttp.ClientSession() as session, session.get(asked, ssl=proxy.context) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        await until(ready, "the proxy answers")
        yield proxy
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
