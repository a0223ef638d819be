"""Slack's part of an alertmanager.yml: ``slack_configs``.

https://prometheus.io/docs/alerting/latest/configuration/#slack_config
"""

import re
from typing import Any

from router.channels.importing import ChannelImport, Node, split_url

_OVERRIDE_NOTE = (
    "the channel is given beside an incoming webhook, and only webhooks of the old kind obey it",
    "nothing; or, if the webhook belongs to an app, make one for each channel",
)
_HOSTS = re.compile(r"(?:.+\.)?slack(?:-gov)?\.com")
_CHANNEL_ID = re.compile(r"[CDGU][A-Z0-9]{7,}")


class SlackImport(ChannelImport):
    """An incoming webhook becomes a destination with ``webhook_url``; Alertmanager's bot token is used again."""

    configs_key = "slack_configs"
    global_keys = ("slack_api_url", "slack_api_url_file")
    message_keys = frozenset({
        "title", "title_link", "text", "fallback", "pretext", "footer", "fields", "short_fields", "color", "actions",
        "username", "icon_emoji", "icon_url", "image_url", "thumb_url", "link_names", "callback_id", "mrkdwn_in",
        "message_text",
    })  # fmt: skip
    sends_resolved = False

    def destination(self, config: Node, receiver: str) -> dict[str, Any]:
        self._note_server(config)
        token = self._bot_token(config)
        webhook = None if token is not None or self._posts_to_api(config) else self._webhook(config, receiver)
        if webhook is not None:
            return self._webhook_destination(config, receiver, webhook)
        self._read_token(config, token)
        channel = config.text("channel")
        if channel is None or "{{" in channel:
            what = "the config names no channel" if channel is None else "the channel is a Go template"
            channel = self._channel_variable(config, receiver, what)
        elif not _CHANNEL_ID.fullmatch(channel):
            todo = 'its ID (C…, see "About" of the channel) is safer: it stays when the channel is renamed'
            config.note(
                f"the channel {channel!r} is given by its name", todo, key="channel", once="channel names"
            )
        return {"channel": channel}

    def _webhook_destination(self, config: Node, receiver: str, webhook: Any) -> dict[str, Any]:
        channel = config.text("channel")
        if channel is not None and "{{" in channel:
            channel = self._channel_variable(config, receiver, "the channel is a Go template")
        if channel is not None:
            config.note(*_OVERRIDE_NOTE, key="channel", once=_OVERRIDE_NOTE)
        given = {"webhook_url": webhook, **({"channel": channel} if channel else {})}
        return {**given, "name": self.context.destination_name(receiver, given)}

    def _channel_variable(self, config: Node, receiver: str, what: str) -> str:
        variable = self.context.variables.new(receiver, "SLACK_CHANNEL")
        config.note(what, f"set {variable.name} to the channel's ID", key="channel")
        return variable

    def _webhook(self, config: Node, receiver: str) -> Any:
        """Return what replaces the URL of an incoming webhook; None: there is none."""
        own = self.context.variables.secret(config, "api_url", receiver, "SLACK_WEBHOOK_URL")
        if own is not None:
            return own
        return self.context.variables.secret(self.context.global_node, "slack_api_url", "SLACK_WEBHOOK_URL")

    def _posts_to_api(self, config: Node) -> bool:
        """Return whether the URL is that of Slack's Web API, which needs a bot's token."""
        url = config.text("api_url") or self.context.global_node.text("slack_api_url")
        return split_url(url).path.startswith("/api/") and not config.text("api_url_file")

    def _read_token(self, config: Node, token: Any) -> None:
        if self.settings is None:
            if token is None:
                variable = self.context.variables.new("SLACK_BOT_TOKEN")
                todo = f"make a bot with chat:write, and set {variable.name} to its token"
                config.note("the config has no incoming webhook and no token", todo)
                token = variable
            self.settings = {"token": token}
        elif token is not None and token != self.settings["token"]:
            config.note(
                "this has another token for Slack", "routes.yaml has one: use a bot that is in all channels"
            )

    def _bot_token(self, config: Node) -> Any:
        """Return the variable or the file that replaces the bot token of this item of ``slack_configs``; None: the item
        has no token, because it posts to an incoming webhook of Slack, as most do.
        """
        global_node = self.context.global_node
        positions = [(config, "app_token"), (global_node, "slack_app_token")]
        if self._posts_to_api(config):
            http = self.context.http_config(config, "")[0]
            positions.append((http.node("authorization"), "credentials"))
        elif config.text("api_url"):  # its own webhook counts before the global token
            positions.pop()
        found = (self.context.variables.secret(node, key, "SLACK_BOT_TOKEN") for node, key in positions)
        return next((token for token in found if token is not None), None)

    def _note_server(self, config: Node) -> None:
        """Note a server that is not Slack's."""
        if config.text("api_url_file"):
            return
        own = config.text("api_url")
        node, key = (config, "api_url") if own else (self.context.global_node, "slack_api_url")
        url = split_url(node.text(key))
        if not _HOSTS.fullmatch(url.hostname or "slack.com"):
            what = f"{key} is not Slack's, but of a server that takes Slack's messages"
            todo = "check that it shows Slack's blocks; otherwise use a `webhook` destination"
            node.note(what, todo, key=key)
