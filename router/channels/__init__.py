"""The registry of channels: one entry for each channel."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, ValidationError

from router.channels.base import Channel, ChannelSettings, ChannelSpec, DestinationOptions, Section
from router.channels.discord import DISCORD
from router.channels.email import DIGEST, EMAIL
from router.channels.pagerduty import PAGERDUTY
from router.channels.slack import SLACK
from router.channels.slack_webhook import SLACK_WEBHOOK
from router.channels.teams import TEAMS
from router.channels.telegram import TELEGRAM
from router.channels.webhook import WEBHOOK
from router.model import Destination

REGISTRY: Mapping[str, ChannelSpec] = {
    spec.name: spec
    for spec in (SLACK, SLACK_WEBHOOK, PAGERDUTY, EMAIL, DIGEST, WEBHOOK, DISCORD, TELEGRAM, TEAMS)
}
KEYWORDS = tuple(dict.fromkeys(spec.word for spec in REGISTRY.values()))
"""The words of destinations in routes.yaml."""


def spec_of(keyword: str, options: Any) -> ChannelSpec | None:
    """Return the channel of a destination in routes.yaml; None: there is no such keyword.

    :param options: as given; they choose between the channels of one keyword
    """
    several = [spec for spec in REGISTRY.values() if spec.word == keyword]
    given = options.keys() if isinstance(options, Mapping) else ()
    several.sort(key=lambda spec: spec.chosen_by not in given)
    return next((spec for spec in several if not spec.chosen_by or spec.chosen_by in given), None)


def destination_as_json(destination: Destination) -> str:
    """Return a destination as JSON, secrets included. The store keeps it, so that ends can be sent to a destination
    that is no longer in routes.yaml.
    """
    options = _revealed(destination.options.model_dump(by_alias=True))
    return json.dumps({"channel": destination.channel, "options": options})


def destination_from_json(key: str, text: str) -> Destination | None:
    """Return a destination from the JSON of :func:`destination_as_json`.

    :param key: the key of the destination
    :returns: None if this version of the router does not have the channel, or does not accept the options
    """
    given = json.loads(text)
    spec = REGISTRY.get(given["channel"])
    if spec is None:
        return None
    try:
        return spec.destination(key, spec.options.model_validate(given["options"]), None)
    except ValidationError:
        return None


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
    "KEYWORDS",
    "REGISTRY",
    "Channel",
    "ChannelSettings",
    "ChannelSpec",
    "DestinationOptions",
    "Section",
    "destination_as_json",
    "destination_from_json",
    "spec_of",
]
