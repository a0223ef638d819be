"""The sections ``sentry:`` and ``tracing:``, together with the standard variables of the environment."""

from pathlib import Path

import pytest

from router.config import Config, ConfigError, Trap, loads, telemetry_build
from router.model import SAMPLE_RATE, SentrySettings, TelemetrySettings, TracingSettings
from router.package import package_version

RULES = """
channels: {webhook: {}}
receivers: {ops: [webhook: {url: "https://hooks.example.com/x"}]}
route: {receiver: ops}
"""
DSN = "https://0123456789abcdef@sentry.example.com/42"
ENVIRON = {
    "SENTRY_DSN": DSN, "SENTRY_ENVIRONMENT": "from-environment", "SENTRY_RELEASE": "r9",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example.com:4318/", "OTEL_SERVICE_NAME": "from-environment",
    "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret%20of%20nobody", "OTEL_RESOURCE_ATTRIBUTES": "team=sre,zone=a",
}  # fmt: skip


def load(
    section: str, folder: Path, *, environ: dict[str, str] | None = None, preview: bool = False, checking: bool = False
) -> Config:  # fmt: skip
    return loads(
        f"{section}\n{RULES}", name="routes.yaml", folder=folder, environ=environ or {}, now=0, preview=preview,
        checking=checking,
    )  # fmt: skip


def mistake(section: str, folder: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        load(section, folder, environ=environ)
    assert len(error.value.errors) == 1
    return str(error.value)


def test_the_environment_alone_switches_nothing_on(tmp_path: Path) -> None:
    assert load("", tmp_path, environ=ENVIRON).telemetry == TelemetrySettings()


@pytest.mark.parametrize("nothing", ["", " {}"])
def test_an_empty_section_takes_everything_from_the_environment(tmp_path: Path, nothing: str) -> None:
    found = load(f"sentry:{nothing}\ntracing:{nothing}", tmp_path, environ=ENVIRON).telemetry
    assert found.sentry == SentrySettings(DSN, "from-environment", "r9")
    assert found.tracing == TracingSettings(
        "http://collector.example.com:4318/v1/traces",
        {"api-key": "secret of nobody"},
        SAMPLE_RATE,
        {
            "service.name": "from-environment",
            "service.version": package_version(),
            "team": "sre",
            "zone": "a",
        },
    )


def test_a_key_wins_over_its_variable(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text(f"{DSN}7\n")
    sections = """
sentry: {dsn: {file: dsn}, environment: staging, release: r1, sample_rate: 0.5, server_name: router-1}
tracing:
  endpoint: https://other.example.com/v1/traces
  otlp_headers: a=b
  sample_rate: 1
  service_name: alerts
  environment: staging
  resource: {team: payments}
"""
    config = load(sections, tmp_path, environ=ENVIRON)
    assert config.telemetry.sentry == SentrySettings(f"{DSN}7", "staging", "r1", 0.5, "router-1")
    tracing = config.telemetry.tracing
    assert tracing is not None
    assert (tracing.url, tracing.headers) == ("https://other.example.com/v1/traces", {"a": "b"})
    assert tracing.resource == {
        "service.name": "alerts", "service.version": package_version(), "team": "payments", "zone": "a",
        "deployment.environment.name": "staging",
    }  # fmt: skip
    assert tmp_path / "dsn" in config.secret_files


def test_the_defaults_send_all_errors_and_a_fifth_of_the_traces(tmp_path: Path) -> None:
    sections = f"sentry: {{dsn: '{DSN}'}}\ntracing: {{endpoint: 'http://127.0.0.1:4318'}}"
    found = load(sections, tmp_path).telemetry
    assert found.sentry == SentrySettings(DSN, "production", f"alert-router@{package_version()}")
    assert found.tracing is not None
    assert (found.tracing.sample_rate, found.tracing.headers) == (0.2, {})
    assert found.tracing.resource["service.name"] == "alert-router"


def test_an_address_for_traces_alone_is_used_as_it_is(tmp_path: Path) -> None:
    environ = {**ENVIRON, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other.example.com/spans"}
    tracing = load("tracing:", tmp_path, environ=environ).telemetry.tracing
    assert tracing is not None
    assert tracing.url == "http://other.example.com/spans"


@pytest.mark.parametrize(
    ("section", "extra", "module"),
    [
        (f"sentry: {{dsn: '{DSN}'}}", "sentry", "no_such_module_of_sentry"),
        ("tracing: {endpoint: 'http://c.example.com'}", "otel", "no_such_package.trace"),
    ],
)
def test_a_section_without_its_packages_says_how_to_install_them(
    tmp_path: Path, section: str, extra: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(telemetry_build._MODULES, extra, (module,))
    shown = mistake(section, tmp_path)
    assert shown.startswith("routes.yaml:1:1: ")
    assert shown.endswith(f"needs packages that are not installed; pip install 'alert-router[{extra}]'")
    assert load("", tmp_path).telemetry == TelemetrySettings()


@pytest.mark.parametrize(
    ("section", "environ", "words"),
    [
        ("sentry:", {}, "sentry has no DSN"),
        ("sentry: {dsn: sentry-secret-of-nobody}", {}, "is no DSN"),
        ("sentry: {dsn: 'https://sentry.example.com/42'}", {}, "is no DSN"),
        ("sentry:", {"SENTRY_DSN": "sentry-secret-of-nobody"}, "SENTRY_DSN is no DSN"),
        ("sentry: {sample_rate: 2}", {"SENTRY_DSN": DSN}, "sample_rate"),
        ("sentry: {dns: x}", {"SENTRY_DSN": DSN}, "dns"),
        ("tracing:", {}, "tracing has no address of a collector"),
        ("tracing: {endpoint: collector}", {}, "is no address of a collector"),
        ("tracing: {endpoint: 'http://u:p@c.example.com'}", {}, "contains a user"),
        ("tracing:", {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT is no address"),
        ("tracing: {endpoint: 'http://c', otlp_headers: sentry-secret-of-nobody}", {}, "entry 1 is malformed"),
        ("tracing: {endpoint: 'http://c'}", {"OTEL_EXPORTER_OTLP_HEADERS": "a=b,c"}, "OTEL_EXPORTER_OTLP_HEADERS entry 2"),
        ("tracing: {endpoint: 'http://c', otlp_headers: 'a=b%0d%0aHost: x'}", {}, "entry 1 is malformed"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_without_its_secret(
    tmp_path: Path, section: str, environ: dict[str, str], words: str
) -> None:
    shown = mistake(section, tmp_path, environ)
    assert words in shown
    assert "sentry-secret-of-nobody" not in shown


def test_check_needs_no_credentials(tmp_path: Path) -> None:
    config = load("sentry:\ntracing:", tmp_path, checking=True)
    assert {each.trap for each in config.problems if "sentry" in each.what or "tracing" in each.what} == {
        Trap.CREDENTIALS
    }
    assert load("sentry: {dsn: '${NO_SUCH_DSN}'}", tmp_path, checking=True).telemetry.sentry is None


def test_a_preview_reports_nothing(tmp_path: Path) -> None:
    sections = f"sentry: {{dsn: '{DSN}'}}\ntracing: {{endpoint: 'http://127.0.0.1:4318'}}"
    assert load(sections, tmp_path, preview=True).telemetry == TelemetrySettings()


def test_no_alert_is_judged_again_for_a_changed_section(tmp_path: Path) -> None:
    before = load("", tmp_path).policy.fingerprint
    assert load("tracing: {endpoint: 'http://127.0.0.1:4318'}", tmp_path).policy.fingerprint == before


def test_secrets_are_not_shown_in_the_settings(tmp_path: Path) -> None:
    sections = f"sentry: {{dsn: '{DSN}'}}\ntracing: {{endpoint: 'http://c', otlp_headers: key=sentry-secret-of-nobody}}"
    config = load(sections, tmp_path)
    assert "0123456789abcdef" not in repr(config.telemetry)
    assert "sentry-secret-of-nobody" not in repr(config.telemetry)
