"""The trace headers that a request to the operator's own servers passes on."""

from collections.abc import Mapping
from contextvars import ContextVar

TRACE_HEADERS: ContextVar[Mapping[str, str]] = ContextVar("trace_headers", default={})  # noqa: B039  (nobody changes it)
"""W3C ``traceparent`` and ``tracestate`` of the delivery that sends; empty: there is no trace. Only the channel ``webhook`` sends them:
a vendor can't use them. https://www.w3.org/TR/trace-context/"""
