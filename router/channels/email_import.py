"""Email's part of an alertmanager.yml: ``email_configs``, and ``smtp_…`` of ``global:``.

https://prometheus.io/docs/alerting/latest/configuration/#email_config
"""

from email.utils import getaddresses
from typing import Any

from router.channels.importing import ChannelImport, ImportContext, Node

# Each is `smtp_KEY` in `global:`, and KEY where an email_config sets its own.
_SMTP_KEYS = (
    "smarthost", "from", "hello", "auth_username", "auth_password", "auth_password_file", "require_tls",
    "force_implicit_tls",
)  # fmt: skip


class EmailImport(ChannelImport):
    """The first email_config gives the smarthost; the others are compared with it."""

    configs_key = "email_configs"
    global_keys = tuple(f"smtp_{key}" for key in _SMTP_KEYS)
    message_keys = frozenset({"html", "text", "headers"})
    sends_resolved = False

    def __init__(self, context: ImportContext) -> None:
        super().__init__(context)
        self._smtp: dict[str, str | None] = {}

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:  # noqa: ARG002  (an address needs no name)
        given = {key: config.text(key) or self.context.global_node.text(f"smtp_{key}") for key in _SMTP_KEYS}
        if self.settings is None:
            self._smtp = given
            self.settings = self._smarthost(config)
        elif others := [key for key in _SMTP_KEYS if given[key] != self._smtp[key]]:
            what = f"this mail has another {', '.join(others)} than the mail before it"
            config.note(what, "routes.yaml has one smarthost and one sender", key=others[0])
        to = []
        for name, address in getaddresses([config.text("to") or ""]):
            full = f"{name} <{address}>" if name else address
            if self.context.options_problems({"to": [full]}):
                config.note("`to` has something that is no address", "write the addresses", key="to")
            else:
                to.append(full)
        return {"to": to} if to else None

    def _smarthost(self, config: Node) -> dict[str, Any]:
        settings: dict[str, Any] = {"smarthost": self._smtp["smarthost"], "from": self._smtp["from"]}
        for key, (what, _) in self.context.settings_problems(settings).items():
            default = "localhost:25" if key == "smarthost" else "alerts@example.com"
            variable = settings[key] = self.context.variables.new("SMTP", key, default=default)
            node, at = self._position(config, key)
            node.note(f"{what}; it is not copied", f"set {variable.name}", key=at)
        if hello := self._smtp["hello"]:
            settings["hello"] = hello
        username = self._smtp["auth_username"]
        password = self._smtp["auth_password"] or self._smtp["auth_password_file"]
        if username and password:
            node, key = self._position(config, "auth_password")
            secret = self.context.variables.secret(node, key, "SMTP_PASSWORD")
            settings |= {"username": username, "password": secret}
        elif username or password:
            node, at = self._position(config, "auth_username" if username else "auth_password")
            node.note("username and password go together; neither is taken", "give both", key=at)
        if (tls := self._tls(config, settings)) is not None:
            settings["tls"] = tls
        return settings

    def _position(self, config: Node, key: str) -> tuple[Node, str]:
        """Return the mapping and the key that give a setting: the config's own, or the global one."""
        own = config.data.get(key) is not None or config.data.get(f"{key}_file") is not None
        return (config, key) if own else (self.context.global_node, f"smtp_{key}")

    def _tls(self, config: Node, settings: dict[str, Any]) -> str | None:
        """Return ``tls`` of the settings; None: the default of the port is right.

        https://github.com/prometheus/alertmanager/blob/main/notify/email/email.go
        """
        by_port = str(settings["smarthost"]).endswith(":465")
        node, key = self._position(config, "force_implicit_tls")
        if node.flag(key, default=by_port):
            return None if by_port else "implicit"
        node, key = self._position(config, "require_tls")
        if node.flag(key, default=True):
            return "starttls" if by_port else None
        if "password" not in settings:
            return "none"
        todo = "tls is starttls now; without it, leave username and password out"
        node.note(f"{key} is false, and a password would go in clear", todo, key=key)
        return "starttls"
