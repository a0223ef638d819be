"""Telegram's part of an alertmanager.yml: ``telegram_configs``.

https://prometheus.io/docs/alerting/latest/configuration/#telegram_config
"""

from typing import Any

from router.channels.importing import CORRECT_IT, ChannelImport, Node

_API_URL = "https://api.telegram.org"


class TelegramImport(ChannelImport):
    """The first token and address become those of the section; a config with others gets a note."""

    configs_key = "telegram_configs"
    global_keys = ("telegram_api_url", "telegram_bot_token", "telegram_bot_token_file")
    message_keys = frozenset({"message", "parse_mode"})

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:
        chat_id = config.text("chat_id")
        if chat_id is None and config.text("chat_id_file") is None:
            config.note("telegram_configs has no chat_id; it is left out", CORRECT_IT)
            return None
        self._read_settings(config)
        if chat_id is None or "{{" in chat_id:
            variable = self.context.variables.new(receiver, "TELEGRAM_CHAT_ID")
            what, key = (
                ("the chat is in a file", "chat_id_file")
                if chat_id is None
                else ("the chat is a Go template", "chat_id")
            )
            config.note(what, f"set {variable.name} to the chat's number", key=key)
            chat_id = variable
        if config.flag("disable_notifications"):
            todo = "mute the chat in Telegram, or use a chat of its own"
            config.note("disable_notifications has no counterpart", todo, key="disable_notifications")
        thread = config.text("message_thread_id")
        topic = {} if thread in {None, "0"} else {"message_thread_id": thread}
        return {"chat_id": chat_id, **topic}

    def _read_settings(self, config: Node) -> None:
        secret, global_node = self.context.variables.secret, self.context.global_node
        token = secret(config, "bot_token", "TELEGRAM_BOT_TOKEN")
        token = token or secret(global_node, "telegram_bot_token", "TELEGRAM_BOT_TOKEN")
        api_url = config.text("api_url") or global_node.text("telegram_api_url") or _API_URL
        own = {} if api_url.rstrip("/") == _API_URL else {"api_url": api_url}
        if token is None:
            config.note("telegram_configs has no bot_token", CORRECT_IT)
        if self.settings is None:
            self.settings = {"token": token or self.context.variables.new("TELEGRAM_BOT_TOKEN"), **own}
        elif token not in (None, self.settings["token"]) or own.get("api_url") != self.settings.get(
            "api_url"
        ):
            todo = "routes.yaml has one: use a bot that is in all chats"
            config.note("this has another bot or server for Telegram", todo)
