"""All that answers HTTP."""

from router.web.parts import KEEPALIVE_SECONDS, Parts
from router.web.server import make_app

__all__ = ["KEEPALIVE_SECONDS", "Parts", "make_app"]
