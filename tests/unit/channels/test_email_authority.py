"""``ca_file`` of the section: a smarthost with a certificate of an authority of its own, over real TLS."""

import ssl
from pathlib import Path

import certifi
import pytest

from router.channels.email import EmailChannel, EmailSettings
from router.config import Config, ConfigError, loads
from router.model import Broken, Delivered, Outcome
from router.network import Network
from tests.unit.channels.talk import conversation
from tests.unit.channels.test_email import notify
from tests.world.fake_smtp import PASSWORD, USER, FakeSmtp

pytestmark = pytest.mark.parametrize("security", ["starttls", "implicit"])


def load(smarthost: str, security: str, folder: Path, more: str = "", network: str = "") -> Config:
    text = f"""
channels:
  email:
    {{smarthost: "{smarthost}", from: a@router.example, tls: {security}, username: {USER}, password: {PASSWORD}{more}}}
receivers: {{ops: [{{email: {{to: [a@example.com]}}}}]}}
route: {{receiver: ops}}
{network}
"""
    return loads(text, name="routes.yaml", folder=folder, environ={}, now=0)


async def outcome(config: Config) -> Outcome:
    settings = config.settings["email"]
    assert isinstance(settings, EmailSettings)
    return await notify(EmailChannel(settings, config.network), conversation())


async def test_the_sections_authority_is_trusted(
    security: str, tls: ssl.SSLContext, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(certificate[0].read_text())
    async with FakeSmtp(tls, implicit=security == "implicit") as smtp:
        config = load(smtp.smarthost, security, tmp_path, ", ca_file: ca.pem")
        assert isinstance(await outcome(config), Delivered)
    assert tmp_path / "ca.pem" in config.files


async def test_without_it_the_networks_authority_counts(
    security: str, tls: ssl.SSLContext, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    async with FakeSmtp(tls, implicit=security == "implicit") as smtp:
        network = f"network: {{ca_file: {certificate[0]}}}"
        assert isinstance(await outcome(load(smtp.smarthost, security, tmp_path, network=network)), Delivered)
        own = load(smtp.smarthost, security, tmp_path, f", ca_file: {certifi.where()}", network)
        assert await outcome(own) == Broken("tls: certificate not trusted")


def test_another_content_of_the_file_is_another_setting(
    security: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """So a reload makes the channel again."""
    file = tmp_path / "ca.pem"
    file.write_text(certificate[0].read_text())
    before = load("smtp.example:25", security, tmp_path, ", ca_file: ca.pem").settings
    assert load("smtp.example:25", security, tmp_path, ", ca_file: ca.pem").settings == before
    file.write_text(Path(certifi.where()).read_text())
    assert load("smtp.example:25", security, tmp_path, ", ca_file: ca.pem").settings != before


def test_a_file_that_is_no_certificate_is_a_mistake(security: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name, what in (
        ("empty.pem", "has no certificate in it"),
        ("none.pem", "can't be read: No such file"),
    ):
        with pytest.raises(ConfigError, match=rf"routes\.yaml:4:\d+: .*{name} {what}"):
            load("smtp.example:25", security, tmp_path, f", ca_file: {name}")


def test_the_proxy_is_trusted_by_the_networks_authority_alone(
    security: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    config = load("smtp.example:25", security, tmp_path, f", ca_file: {certificate[0]}")
    settings = config.settings["email"]
    assert isinstance(settings, EmailSettings)
    channel = EmailChannel(settings, Network())
    assert channel._tls is not None
    assert channel._proxy_tls is None
