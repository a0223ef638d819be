"""The registry of channels: a line each."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, ValidationError

from router.channels.base import Channel, ChannelSettings, ChannelSpec, DestinationOptions, Section
from router.channels.discord import DISCORD
from router.channels.email import DIGEST, EMAIL
from router.channels.pagerduty import PAGERDUTY
from router.channels.slack import SLACK
from router.channels.teams import TEAMS
from router.channels.webhook import WEBHOOK
from router.model import Destination

REGISTRY: Mapping[str, ChannelSpec] = {
    kind.name: kind for kind in (SLACK, PAGERDUTY, EMAIL, DIGEST, WEBHOOK, DISCORD, TEAMS)
}


def written(destination: Destination) -> str:
    """A destination as text, its secrets among it: what the store keeps, so that it can be told of an end when
    it is gone from routes.yaml.
    """
    options = _revealed(destination.options.model_dump(by_alias=True))
    return json.dumps({"channel": destination.channel, "options": options})


def read(key: str, text: str) -> Destination | None:
    """The destination again; None: this version of the router has no such channel, or other options."""
    given = json.loads(text)
    kind = REGISTRY.get(given["channel"])
    try:
        options = None if kind is None else kind.options.model_validate(given["options"])
    except ValidationError:
        return None
    if kind is None or options is None:
        return None
    limits = kind.limits_of(options, None)
    return Destination(
        key, kind.name, options, options.per_alert, digest=kind.name == "digest", limits=limits
    )


def _revealed(data: Any) -> Any:
    match data:
        case SecretStr():
            return data.get_secret_value()
        case dict():
            return {key: _revealed(value) for key, value in data.items()}
        case list() | tuple():
            return [_revealed(each) for each in data]
        case _:
            return data


__all__ = [
    "REGISTRY",
    "Channel",
    "ChannelSettings",
    "ChannelSpec",
    "DestinationOptions",
    "Section",
    "read",
    "written",
]
