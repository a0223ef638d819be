"""PagerDuty's part of an alertmanager.yml: ``pagerduty_configs``.

https://prometheus.io/docs/alerting/latest/configuration/#pagerduty_config
"""

from typing import Any

from router.channels.importing import CORRECT_IT, ChannelImport, Node, split_url

_DEFAULT_URL = "https://events.pagerduty.com/v2/enqueue"


class PagerDutyImport(ChannelImport):
    """A routing key becomes a destination; a key of the Events API v1 becomes a variable and a note."""

    configs_key = "pagerduty_configs"
    global_keys = ("pagerduty_url",)
    message_keys = frozenset({
        "description", "details", "client", "client_url", "images", "links", "severity", "class", "component", "group",
        "source",
    })  # fmt: skip

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:
        variables = self.context.variables
        key = variables.secret(config, "routing_key", receiver, "PAGERDUTY_ROUTING_KEY")
        old = next((key for key in ("service_key", "service_key_file") if config.raw(key)), None)
        if key is None and old is not None:
            key = variables.new(receiver, "PAGERDUTY_ROUTING_KEY")
            todo = f"add an Events API v2 integration to the service, and set {key.name} to its key"
            config.note(f"{old} belongs to PagerDuty's Events API v1", todo, key=old)
        if key is None:
            config.note("pagerduty_configs has no routing_key; it is left out", CORRECT_IT)
            return None
        self._read_address(config)
        return {"routing_key": key, "name": self.context.destination_name(receiver, {"key": key})}

    def _read_address(self, config: Node) -> None:
        own = config.text("url")
        node, position = (config, "url") if own else (self.context.global_node, "pagerduty_url")
        url = node.text(position)
        settings = {} if url in {None, _DEFAULT_URL} else {"events_url": self._address(node, position)}
        if self.settings is None:
            self.settings = settings
        elif self.settings != settings:
            node.note(
                "this is a second address of PagerDuty",
                "routes.yaml has one address, `events_url`: choose one",
                key=position,
            )

    def _address(self, node: Node, key: str) -> Any:
        """Return the address of the Events API; if it possibly contains a secret, the variable that replaces it in
        routes.yaml.
        """
        url = node.text(key)
        parts = split_url(url)
        if parts.scheme and not parts.query and "@" not in parts.netloc:
            return url
        return self.context.variables.secret(node, key, "PAGERDUTY_EVENTS_URL")
