"""Builds the sections ``sentry:`` and ``tracing:`` from their models and the standard variables of the environment.

A section switches the reports on; the environment alone never does. A key of the section wins over a variable.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from router.channels.base import is_placeholder
from router.config.document import Document, MissingVariables
from router.config.models import FileModel
from router.config.telemetry_models import (
    SentryModel,
    TracingModel,
    check_collector_url,
    check_dsn,
    key_values,
)
from router.model import SentrySettings, TelemetrySettings, TracingSettings
from router.package import package_version

# By extra, the deepest module of each package that the extra needs.
_MODULES = {
    "sentry": ("sentry_sdk",),
    "otel": ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"),
}
_SERVICE = "alert-router"
_TRACES_PATH = "/v1/traces"


class TelemetryBuilder:
    """Builds both sections of one file, and collects every mistake."""

    def __init__(self, document: Document, file: FileModel | None, environ: Mapping[str, str]) -> None:
        """:param file: None: the file has mistakes that prevent further checks"""
        self._document = document
        self._environ = environ
        self._sentry = None if file is None else file.sentry
        self._tracing = None if file is None else file.tracing

    def build(self) -> TelemetrySettings:
        """Return the settings. A preview reports nothing, so it gets none."""
        sentry = None if self._sentry is None else self._sentry_of(self._sentry)
        tracing = None if self._tracing is None else self._tracing_of(self._tracing)
        if self._document.missing is MissingVariables.MADE_UP:
            return TelemetrySettings()
        return TelemetrySettings(sentry, tracing)

    def _sentry_of(self, model: SentryModel) -> SentrySettings | None:
        self._need("sentry", "sentry")
        dsn = None if model.dsn is None else model.dsn.get_secret_value()
        if dsn is None:
            dsn = self._variable("sentry", check_dsn, "SENTRY_DSN", is_secret=True)
        if dsn is None and not self._is_given("sentry", "dsn"):
            what, todo = (
                "sentry has no DSN",
                "add `dsn:` with the project's DSN, or set SENTRY_DSN in the environment",
            )
            self._document.add_missing_credential(("sentry",), what, todo)
        if not dsn or is_placeholder(dsn):
            return None
        return SentrySettings(
            dsn,
            environment=model.environment or self._environ.get("SENTRY_ENVIRONMENT") or "production",
            release=model.release or self._environ.get("SENTRY_RELEASE") or f"{_SERVICE}@{package_version()}",
            sample_rate=model.sample_rate,
            server_name=model.server_name or "",
        )

    def _tracing_of(self, model: TracingModel) -> TracingSettings | None:
        self._need("tracing", "otel")
        url = None if model.endpoint is None else _traces_url(model.endpoint)
        if url is None:
            url = self._variable("tracing", check_collector_url, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        if url is None:
            url = self._variable("tracing", check_collector_url, "OTEL_EXPORTER_OTLP_ENDPOINT")
            url = _traces_url(url) if url else url
        if url is None and not self._is_given("tracing", "endpoint"):
            what = "tracing has no address of a collector"
            todo = "add `endpoint:`, like http://127.0.0.1:4318, or set OTEL_EXPORTER_OTLP_ENDPOINT in the environment"
            self._document.add_missing_credential(("tracing",), what, todo)
        given = None if model.otlp_headers is None else model.otlp_headers.get_secret_value()
        if given is None:
            names = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
            given = self._variable("tracing", _checked_pairs, *names, is_secret=True) or ""
        if not url or is_placeholder(given):
            return None
        described = key_values(self._variable("tracing", _checked_pairs, "OTEL_RESOURCE_ATTRIBUTES") or "")
        return TracingSettings(url, key_values(given), model.sample_rate, self._resource(model, described))

    def _resource(self, model: TracingModel, described: Mapping[str, str]) -> dict[str, str]:
        """:param described: the attributes of the environment"""
        name = model.service_name or self._environ.get("OTEL_SERVICE_NAME")
        environment = {} if model.environment is None else {"deployment.environment.name": model.environment}
        return {
            "service.name": _SERVICE,
            "service.version": package_version(),
            **described,
            **({"service.name": name} if name else {}),
            **environment,
            **model.resource,
        }

    def _need(self, section: str, extra: str) -> None:
        if not is_installed(extra):
            what, todo = (
                f"{section} needs packages that are not installed",
                f"pip install 'alert-router[{extra}]'",
            )
            self._document.add_error((section,), what, todo, at_key=True)

    def _is_given(self, section: str, key: str) -> bool:
        """Return whether the file has the key, also with a wrong value, which is an error of its own."""
        data = self._document.data
        found = data.get(section) if isinstance(data, Mapping) else None
        return isinstance(found, Mapping) and key in found

    def _variable(
        self, section: str, check: Callable[[str], str], *names: str, is_secret: bool = False
    ) -> str | None:
        """Return the first of these variables that is set; None: none is. Empty: it is wrong, and the error is added."""
        name = next((each for each in names if self._environ.get(each, "").strip()), None)
        if name is None:
            return None
        text = self._environ[name].strip()
        if is_secret:
            self._document.secrets.add(text)
        try:
            return check(text)
        except ValueError as error:
            what, todo = str(error).split("; ", 1)
            self._document.add_error((section,), f"{name} {what}", todo)
            return ""


def is_installed(extra: str) -> bool:
    """Return whether all packages of an extra are installed, without importing much of them."""
    return all(map(_is_there, _MODULES[extra]))


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above the module is missing
        return False


def _checked_pairs(text: str) -> str:
    key_values(text)
    return text


def _traces_url(base: str) -> str:
    """Return the address that takes spans. https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp"""
    base = base.rstrip("/")
    return base if base.endswith(_TRACES_PATH) else f"{base}{_TRACES_PATH}"
