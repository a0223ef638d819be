"""The registry of channels: a line each."""

from collections.abc import Mapping

from router.channels.base import Channel, Kind, Options, Section
from router.channels.email import DIGEST, EMAIL
from router.channels.pagerduty import PAGERDUTY
from router.channels.slack import SLACK

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (SLACK, PAGERDUTY, EMAIL, DIGEST)}

__all__ = ["KINDS", "Channel", "Kind", "Options", "Section"]
