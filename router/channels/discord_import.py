"""Discord's part of an alertmanager.yml: ``discord_configs``.

https://prometheus.io/docs/alerting/latest/configuration/#discord_config
"""

from typing import Any

from router.channels.importing import CORRECT_IT, ChannelImport, Node


class DiscordImport(ChannelImport):
    configs_key = "discord_configs"
    message_keys = frozenset({"title", "message", "content", "username", "avatar_url"})

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:
        secret = self.context.variables.secret(config, "webhook_url", receiver, "DISCORD_WEBHOOK_URL")
        if secret is None:
            config.note("discord_configs has no webhook_url; it is left out", CORRECT_IT)
            return None
        if self.settings is None:
            self.settings = {}
        return {"webhook_url": secret, "name": self.context.destination_name(receiver, {"url": secret})}
