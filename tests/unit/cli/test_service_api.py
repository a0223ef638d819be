"""The client of the service: TLS, keep-alive, and words that the service has as well."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest

from router.cli.alert_commands import MAX_FOUND, WAITING_FATES
from router.cli.delivery_commands import OUTCOMES
from router.cli.status_command import STATES
from router.web.api import firing_list
from router.web.api.deliveries import OutcomeName
from router.web.api.destination_words import StateName
from router.web.api.waiting_list import WaitingFate
from tests.certificates import Authority
from tests.unit.cli.commands import run

KEY = '{"key": "slack:C1", "name": "Slack C1", "receivers": [], "state": "healthy", "words": "healthy: x", "advice": null}'


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = KEY.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "own")


@pytest.fixture(scope="module")
def address(authority: Authority) -> Iterator[str]:
    """A service that shows a certificate, and asks for one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    pair = authority.issue("server")
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_client_shows_its_certificate(address: str, authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("operator")
    both = tmp_path / "operator.pem"
    both.write_text(pair.certificate.read_text() + pair.key.read_text())
    found = run(
        "status", "slack:C1", "--url", address, "--ca-file", str(authority.file), "--client-cert", str(both)
    )
    assert found.output == "slack:C1  Slack C1\n  healthy: x.\n"


def test_an_unknown_authority_is_named(address: str) -> None:
    found = run("status", "slack:C1", "--url", address)
    assert found.exit_code == 1
    assert "does not answer (SSLCertVerificationError: " in found.stderr


def test_a_file_that_is_no_certificate_is_an_error(address: str, tmp_path: Path) -> None:
    for option in ("--ca-file", "--client-cert"):
        found = run("status", "--url", address, option, str(tmp_path / "missing.pem"))
        assert found.exit_code == 1
        assert "--ca-file or --client-cert can't be used: " in found.stderr


def test_words_of_options_are_those_of_the_service() -> None:
    assert tuple(StateName) == STATES
    assert set(get_args(OutcomeName)) == set(OUTCOMES)
    assert set(get_args(WaitingFate)) == set(WAITING_FATES)
    assert firing_list._MAX_FOUND == MAX_FOUND
