"""The section ``network:`` of routes.yaml, together with the proxies of the environment."""

from pathlib import Path

import certifi
import pytest

from router.config import Config, ConfigError, Trap, loads

RULES = """
channels: {webhook: {}}
receivers: {ops: [webhook: {url: "https://hooks.example.com/x"}]}
route: {receiver: ops}
"""
URL = "https://hooks.example.com/x"


def load(
    section: str, folder: Path, *, environ: dict[str, str] | None = None, checking: bool = False
) -> Config:
    return loads(
        f"{section}\n{RULES}", name="routes.yaml", folder=folder, environ=environ or {}, now=0, checking=checking
    )  # fmt: skip


def test_without_settings_connections_are_direct(tmp_path: Path) -> None:
    network = load("", tmp_path).network
    assert network.proxy_for(URL) is None
    assert network.tls_context() is None


def test_the_environment_counts_when_the_file_is_loaded(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "internal.example"}
    network = load("", tmp_path, environ=environ).network
    assert network.proxy_for(URL) == "http://proxy.example:3128"
    assert network.proxy_for("https://am.internal.example") is None


def test_the_section_replaces_the_environment(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("http://u:p4ssword@proxy.example:3128\n")
    section = "network: {proxy_url: {file: proxy}, no_proxy: [.internal.example, 10.0.0.0/8]}"
    environ = {"https_proxy": "http://other.example", "no_proxy": "hooks.example.com"}
    network = load(section, tmp_path, environ=environ).network
    assert network.proxy_for(URL) == "http://u:p4ssword@proxy.example:3128"
    assert network.tunnel_for("smtp.example", 587) == network.proxy_for(URL)
    assert network.proxy_for("https://10.1.1.1/") is None


def test_an_authoritys_file_is_read_and_watched(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text(Path(certifi.where()).read_text())
    config = load("network: {ca_file: ca.pem}", tmp_path)
    assert config.network.tls_context() is not None
    assert authority in config.files
    assert config.network == load(f"network: {{ca_file: {authority}}}", tmp_path / "other").network
    assert config.network != load("", tmp_path).network


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ConfigError) as caught:
        load(
            "network:\n  ca_file: empty.pem\n  proxy_url: socks5://u:p4ssword@x\n  no_proxy: [10.0.0.0/99, a.example, '']\n"
            "  ca: x",
            tmp_path,
        )
    found = [str(each).replace(str(tmp_path), "") for each in caught.value.errors]
    assert found == [
        "routes.yaml:2:12: /empty.pem has no certificate in it; put the authority's certificates there, as PEM",
        "routes.yaml:3:14: proxy_url is no proxy that can be used; write it like http://proxy.example.com:3128",
        "routes.yaml:4:14: no_proxy is no CIDR block; write it like 10.0.0.0/8 or fd00::/8",
        "routes.yaml:4:38: no_proxy is no host, domain, IP address or CIDR block; write it like .example.com or 10.0.0.0/8",
        "routes.yaml:5:3: unknown key 'ca'; the keys here are: ca_file, no_proxy, proxy_url",
    ]
    assert "p4ssword" not in caught.value.shown


def test_a_missing_authority_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"routes.yaml:1:20: .*ca.pem can't be read: No such file"):
        load("network: {ca_file: ca.pem}", tmp_path)


def test_a_wrong_entry_of_the_environment_is_a_warning(tmp_path: Path) -> None:
    config = load("", tmp_path, environ={"NO_PROXY": "10.0.0.0/99", "ALL_PROXY": "socks5://x"})
    found = [(each.trap, each.what) for each in config.problems]
    assert found == [
        (Trap.ENVIRONMENT, "ALL_PROXY is ignored: it is no http:// or https:// address"),
        (Trap.ENVIRONMENT, "the entry '10.0.0.0/99' of NO_PROXY is ignored: it is no CIDR block"),
    ]


def test_a_proxy_whose_secret_is_absent_is_left_out_of_a_check(tmp_path: Path) -> None:
    section = 'network: {proxy_url: "${PROXY_URL}"}'
    config = load(section, tmp_path, checking=True)
    assert config.network.proxy_for(URL) is None
    assert Trap.CREDENTIALS in {each.trap for each in config.problems}
    with pytest.raises(ConfigError, match="PROXY_URL is not set"):
        load(section, tmp_path)
    with pytest.raises(ConfigError, match="proxy_url is no proxy that can be used"):
        load(section, tmp_path, environ={"PROXY_URL": "proxy.example.com".ljust(32, "x")})
