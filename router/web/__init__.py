"""All that answers HTTP."""

from router.web.parts import KEEPALIVE_SECONDS, Parts
from router.web.server import make_app, make_runner

__all__ = ["KEEPALIVE_SECONDS", "Parts", "make_app", "make_runner"]
