"""The HTTP server: webhooks, pages, the API, probes, and metrics."""

from router.web.app_context import KEEPALIVE_SECONDS, AppContext
from router.web.server import make_app, make_runner

__all__ = ["KEEPALIVE_SECONDS", "AppContext", "make_app", "make_runner"]
