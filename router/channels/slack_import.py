"""Slack's part of an alertmanager.yml: ``slack_configs``.

https://prometheus.io/docs/alerting/latest/configuration/#slack_config
"""

import re
from typing import Any

from router.channels.importing import ChannelImport, ImportContext, Node, split_url

_BOT_NOTE = (
    "Alertmanager posts to Slack's incoming webhook; the router is a bot, which can edit its own messages",
    "make a bot with chat:write, invite it to the channels, and set SLACK_BOT_TOKEN to its token",
)
_HOSTS = re.compile(r"(?:.+\.)?slack(?:-gov)?\.com")
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: its first part is the workspace.
_INCOMING_WEBHOOK = re.compile(r"/services/([^/]+)/")
_CHANNEL_ID = re.compile(r"[CDGU][A-Z0-9]{7,}")


class SlackImport(ChannelImport):
    """Incoming webhooks become a bot with one token; Alertmanager's bot token is used again."""

    configs_key = "slack_configs"
    global_keys = ("slack_api_url", "slack_api_url_file")
    message_keys = frozenset({
        "title", "title_link", "text", "fallback", "pretext", "footer", "fields", "short_fields", "color", "actions",
        "username", "icon_emoji", "icon_url", "image_url", "thumb_url", "link_names", "callback_id", "mrkdwn_in",
        "message_text",
    })  # fmt: skip
    sends_resolved = False

    def __init__(self, context: ImportContext) -> None:
        super().__init__(context)
        self._workspaces: set[str] = set()

    def destination(self, config: Node, receiver: str) -> dict[str, Any]:
        self._read_token(config)
        self._note_workspace(config)
        channel = config.text("channel")
        if channel is None or "{{" in channel:
            variable = self.context.variables.new(receiver, "SLACK_CHANNEL")
            what = "the channel is the webhook's own" if channel is None else "the channel is a Go template"
            config.note(what, f"set {variable.name} to the channel's ID", key="channel")
            channel = variable
        elif not _CHANNEL_ID.fullmatch(channel):
            todo = 'its ID (C…, see "About" of the channel) is safer: it stays when the channel is renamed'
            config.note(
                f"the channel {channel!r} is given by its name", todo, key="channel", once="channel names"
            )
        return {"channel": channel}

    def _read_token(self, config: Node) -> None:
        token = self._bot_token(config)
        if self.settings is None:
            if token is None:
                self._note_bot(config)
            self.settings = {"token": token or self.context.variables.new("SLACK_BOT_TOKEN")}
        elif token is not None and token != self.settings["token"]:
            config.note(
                "this has another token for Slack", "routes.yaml has one: use a bot that is in all channels"
            )

    def _note_bot(self, config: Node) -> None:
        positions = (
            (node, f"{prefix}{key}")
            for node, prefix in ((config, ""), (self.context.global_node, "slack_"))
            for key in ("api_url", "api_url_file")
        )
        node, key = next(((n, k) for n, k in positions if k in n.data), (config, "api_url"))
        node.note(*_BOT_NOTE, key=key)

    def _bot_token(self, config: Node) -> Any:
        """Return the variable or the file that replaces the bot token of this item of ``slack_configs``; None: the item
        has no token, because it posts to an incoming webhook of Slack, as most do.
        """
        global_node = self.context.global_node
        url = config.text("api_url") or global_node.text("slack_api_url")
        positions = [(config, "app_token"), (global_node, "slack_app_token")]
        if split_url(url).path.startswith("/api/"):
            http = self.context.http_config(config, "")[0]
            positions.append((http.node("authorization"), "credentials"))
        found = (self.context.variables.secret(node, key, "SLACK_BOT_TOKEN") for node, key in positions)
        return next((token for token in found if token is not None), None)

    def _note_workspace(self, config: Node) -> None:
        """Note a server that is not Slack's, and a second workspace."""
        if config.text("api_url_file"):
            return
        own = config.text("api_url")
        node, key = (config, "api_url") if own else (self.context.global_node, "slack_api_url")
        url = split_url(node.text(key))
        if not _HOSTS.fullmatch(url.hostname or "slack.com"):
            what = f"{key} is not Slack's, but of a server that takes Slack's messages"
            todo = "use a `webhook` destination, or `channels.slack.api_url` if it has Slack's Web API"
            node.note(what, todo, key=key)
        elif (found := _INCOMING_WEBHOOK.match(url.path)) is not None:
            self._workspaces.add(found.group(1))
            if len(self._workspaces) > 1:
                what = "this posts to another Slack workspace than the configs before it"
                node.note(what, "a bot is in one workspace: name a channel of that workspace", key=key)
