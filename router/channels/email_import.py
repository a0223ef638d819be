"""Email's part of an alertmanager.yml: ``email_configs``, and ``smtp_…`` of ``global:``.

https://prometheus.io/docs/alerting/latest/configuration/#email_config
"""

from email.utils import getaddresses
from typing import Any

from router.channels.importing import ChannelImport, ImportContext, Node
from router.package import docs_page

# Each is `smtp_KEY` in `global:`, and KEY where an email_config sets its own.
_SMTP_KEYS = (
    "smarthost", "from", "hello", "auth_username", "auth_password", "auth_password_file", "require_tls",
    "force_implicit_tls",
)  # fmt: skip


class EmailImport(ChannelImport):
    """The first email_config gives the smarthost; the others are compared with it."""

    configs_key = "email_configs"
    global_keys = (*(f"smtp_{key}" for key in _SMTP_KEYS), "smtp_tls_config")
    message_keys = frozenset({"html", "text"})
    sends_resolved = False

    def __init__(self, context: ImportContext) -> None:
        super().__init__(context)
        self._smtp: dict[str, str | None] = {}
        self._by_recipients: dict[frozenset[str], dict[str, Any]] = {}

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:  # noqa: ARG002  (an address needs no name)
        given = {key: config.text(key) or self.context.global_node.text(f"smtp_{key}") for key in _SMTP_KEYS}
        given["tls_config"] = self._tls_config(config).text("ca_file")
        if self.settings is None:
            self._smtp = given
            self.settings = self._smarthost(config)
        elif others := [key for key in given if given[key] != self._smtp[key]]:
            what = f"this mail has another {', '.join(others)} than the mail before it"
            config.note(what, "routes.yaml has one smarthost and one sender", key=others[0])
        headers = self._headers(config)
        to = []
        for name, address in getaddresses([config.text("to") or ""]):
            full = f"{name} <{address}>" if name else address
            if self.context.options_problems({"to": [full]}):
                config.note("`to` has something that is no address", "write the addresses", key="to")
            else:
                to.append(full)
        if not to:
            return None
        options = self._by_recipients.setdefault(frozenset(to), {"to": to, **headers})
        if {key: options[key] for key in options if key != "to"} != headers:
            what = "another mail to these recipients has other headers"
            config.note(
                what,
                "routes.yaml has one destination for these recipients; keep one of the two",
                key="headers",
            )
        return {**options, "to": to}

    def _headers(self, config: Node) -> dict[str, Any]:
        """Return ``reply_to`` and ``headers`` of the destination. Headers that can't be copied are noted."""
        node = config.node("headers")
        options: dict[str, Any] = {}
        for name in node.data:
            if (value := node.text(name)) is None:
                continue
            if "{{" in value:
                todo = (
                    f"write a fixed value into routes.yaml, or change the template: {docs_page('templates')}"
                )
                node.note(f"{name} is a Go template; it is not copied", todo, key=name)
                continue
            is_reply = name.casefold() == "reply-to"
            option = {"reply_to": value} if is_reply else {"headers": {name: value}}
            problems = self.context.options_problems({"to": ["a@example.com"], **option})
            for what, todo in problems.values():
                node.note(f"{what}; it is not copied", todo, key=name)
            if not problems and is_reply:
                options["reply_to"] = value
            elif not problems:
                options.setdefault("headers", {})[name] = value
        return options

    def _smarthost(self, config: Node) -> dict[str, Any]:
        settings: dict[str, Any] = {"smarthost": self._smtp["smarthost"], "from": self._smtp["from"]}
        for key, (what, _) in self.context.settings_problems(settings).items():
            default = "localhost:25" if key == "smarthost" else "alerts@example.com"
            variable = settings[key] = self.context.variables.new("SMTP", key, default=default)
            node, at = self._position(config, key)
            node.note(f"{what}; it is not copied", f"set {variable.name}", key=at)
        # "localhost" is Alertmanager's default, which strict servers refuse.
        if (hello := self._smtp["hello"]) and hello != "localhost":
            settings["hello"] = hello
            if "hello" in self.context.settings_problems(settings):
                del settings["hello"]
                node, at = self._position(config, "hello")
                node.note(
                    "hello is no host name; it is not copied", "leave it out, or give a host name", key=at
                )
        if ca_file := self._smtp["tls_config"]:
            settings["ca_file"] = ca_file
            if not ca_file.startswith("/"):
                what, todo = (
                    "ca_file is a relative path",
                    "in routes.yaml it starts from the folder of routes.yaml: move one of the two",
                )
                self._tls_config(config).note(what, todo, key="ca_file")
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

    def _tls_config(self, config: Node) -> Node:
        """Return the ``tls_config`` that applies: the config's own, or the global one."""
        if config.data.get("tls_config") is not None:
            return config.node("tls_config")
        return self.context.global_node.node("smtp_tls_config")

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
