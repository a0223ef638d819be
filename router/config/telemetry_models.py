"""The models of ``sentry:`` and ``tracing:``."""

import re
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from router.channels.base import Section, is_placeholder
from router.model import SAMPLE_RATE

# https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Share = Annotated[float, Field(ge=0, le=1)]


def check_dsn(dsn: str) -> str:
    """Return the address of a Sentry project. :raises ValueError: it is none"""
    try:
        parts = urlsplit(dsn)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname and parts.username)
        is_usable = is_usable and parts.port != 0 and parts.path.rpartition("/")[2].isdigit()
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError("is no DSN; copy it from the settings of the project in Sentry")
    return dsn


def check_collector_url(url: str) -> str:
    """Return the address of a collector. :raises ValueError: it can't be used"""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or re.search(r"\s", url) or parts.query or parts.fragment:
        raise ValueError("is no address of a collector; write it like http://collector.example.com:4318")
    if parts.username is not None:
        raise ValueError("contains a user; move the credentials to otlp_headers")
    return url


def key_values(text: str) -> dict[str, str]:
    """Return what a text like ``key=value,key2=value2`` says. Values are decoded as in a URL.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables

    :raises ValueError: an entry is malformed; the message does not show it
    """
    found: dict[str, str] = {}
    for number, entry in enumerate(filter(str.strip, text.split(",")), 1):
        key, equals, value = entry.partition("=")
        if not equals or not _HEADER_NAME.fullmatch(key.strip()) or not unquote(value).strip().isprintable():
            raise ValueError(f"entry {number} is malformed; write key=value,key2=value2")
        found[key.strip()] = unquote(value).strip()
    return found


def _dsn(secret: SecretStr) -> SecretStr:
    if not is_placeholder(secret.get_secret_value()):
        check_dsn(secret.get_secret_value())
    return secret


def _headers(secret: SecretStr) -> SecretStr:
    if not is_placeholder(secret.get_secret_value()):
        key_values(secret.get_secret_value())
    return secret


class SentryModel(Section):
    dsn: Annotated[SecretStr, AfterValidator(_dsn)] | None = None
    """The address of the Sentry project; None: SENTRY_DSN of the environment."""
    environment: str | None = None
    """None: SENTRY_ENVIRONMENT, or ``production``."""
    release: str | None = None
    """None: SENTRY_RELEASE, or ``alert-router@`` and the version."""
    sample_rate: Share = 1.0
    server_name: str | None = None


class TracingModel(Section):
    endpoint: Annotated[str, AfterValidator(check_collector_url)] | None = None
    """The address of the collector, without ``/v1/traces``. None: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
    OTEL_EXPORTER_OTLP_ENDPOINT."""
    otlp_headers: Annotated[SecretStr, AfterValidator(_headers)] | None = None
    """Headers of each request, ``key=value,key2=value2``. None: those of the environment."""
    sample_rate: Share = SAMPLE_RATE
    service_name: str | None = None
    """None: OTEL_SERVICE_NAME, or ``alert-router``."""
    environment: str | None = None
    """The attribute ``deployment.environment.name``."""
    resource: dict[str, str] = Field(default={})
    """More attributes of the service. They come before those of OTEL_RESOURCE_ATTRIBUTES."""
