"""Receivers of an alertmanager.yml, and the channels that they need, in the words of routes.yaml.

What the keys mean: https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings
"""

import re
from collections.abc import Callable
from email.utils import getaddresses
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ValidationError

from router.channels.email import EmailOptions, EmailSettings
from router.config.document import Location
from router.config.findings import describe_finding
from router.rules.nodes import REFUSED, Node, Variables

_PORT = 9099  # the router's own
_BOT = (
    "Alertmanager posts to Slack's incoming webhook; the router is a bot, which can mend what it has posted",
    "make a bot with chat:write, invite it to the channels, and set SLACK_BOT_TOKEN to its token",
)
_RESOLVED = (
    "send_resolved is false here, given or by default",
    "nothing: whoever was told of an alert is told of its end",
)
# What they are unless an email_config says otherwise.
_SMTP = (
    "smarthost", "from", "hello", "auth_username", "auth_password", "auth_password_file", "require_tls",
    "force_implicit_tls",
)  # fmt: skip
_PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_SLACK_HOSTS = re.compile(r"(?:.+\.)?slack(?:-gov)?\.com")
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: its first part is the workspace.
_HOOK = re.compile(r"/services/([^/]+)/")
_SLACK_ID = re.compile(r"[CDGU][A-Z0-9]{7,}")
_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")  # what a destination's name can't have


class Receivers:
    """The receivers, and the channels that they need."""

    def __init__(self, globals_: Node, variables: Variables) -> None:
        self.channels: dict[str, dict[str, Any]] = {}
        self.found: dict[str, list[dict[str, Any]]] = {}
        """Destinations by receiver."""
        self._globals = globals_
        self._variables = variables
        self._workspaces: set[str] = set()
        self._smtp: dict[str, str | None] = {}
        self._named: dict[tuple[str, str], dict[str, Any]] = {}
        """Options by channel and the destination's name."""
        globals_.take(
            "slack_api_url", "slack_api_url_file", "pagerduty_url", *(f"smtp_{key}" for key in _SMTP)
        )

    def read(self, pieces: list[Node]) -> None:
        for piece in pieces:
            name = piece.text("name")
            if name is None:
                piece.note("a receiver has no name; it is left out", REFUSED)
                piece.take(*piece.data)
                continue
            if name in self.found:
                todo = "rename one of them; Alertmanager would refuse two"
                piece.note(
                    f"two receivers are named {name!r}; they are merged, and the result notifies the destinations of both",
                    todo,
                    key="name",
                )
            found = self.found.setdefault(name, [])
            self._destinations(piece, name)
            if not found and len(piece.data) > 1:
                piece.note(f"the receiver {name!r} tells nobody now", "give it a destination", key="name")

    def _destinations(self, piece: Node, name: str) -> None:
        kinds = {
            "slack_configs": (self._slack, False),
            "pagerduty_configs": (self._pagerduty, True),
            "email_configs": (self._email, False),
            "webhook_configs": (self._webhook, True),
            "discord_configs": (self._discord, True),
        }
        found = self.found[name]
        for key in piece.data:
            if key in kinds:
                destination, resolves = kinds[key]
                for config in piece.pieces(key):
                    if not config.flag("send_resolved", default=resolves):
                        config.note(*_RESOLVED, once=_RESOLVED)
                    if (each := destination(config, name)) is not None and each not in found:
                        found.append(each)
            elif key.endswith("_configs") and piece.raw(key):
                kind = key.removesuffix("_configs")
                what = f"the receiver {name!r} tells {kind}, for which the router has no channel"
                piece.note(what, "reach it by email or a webhook, if it takes them", key=key)

    def known(self, piece: Node, name: str | None) -> str:
        """A receiver that stands in the result, if need be an empty one."""
        if name is None:
            name = "nobody"
            while name in self.found:
                name += "-at-all"
            piece.note(f"the root route names no receiver; {name!r} is added and tells nobody", REFUSED)
        elif name not in self.found:
            piece.note(
                f"there is no receiver {name!r}; it is added and tells nobody", REFUSED, key="receiver"
            )
        self.found.setdefault(name, [])
        return name

    def _slack(self, config: Node, receiver: str) -> dict[str, Any]:
        token = self._bot_token(config)
        if "slack" not in self.channels:
            if token is None:
                positions = (
                    (piece, f"{prefix}{key}")
                    for piece, prefix in ((config, ""), (self._globals, "slack_"))
                    for key in ("api_url", "api_url_file")
                )
                piece, position = next(
                    ((p, key) for p, key in positions if key in p.data), (config, "api_url")
                )
                piece.note(*_BOT, key=position)
            self.channels["slack"] = {"token": token or self._variables.new("SLACK_BOT_TOKEN")}
        elif token not in {None, self.channels["slack"]["token"]}:
            config.note(
                "this has another token for Slack", "routes.yaml has one: use a bot that is in all channels"
            )
        self._workspace(config)
        channel = config.text("channel")
        if channel is None or "{{" in channel:
            variable = self._variables.new(receiver, "SLACK_CHANNEL")
            what = "the channel is the webhook's own" if channel is None else "the channel is a Go template"
            config.note(what, f"set {variable.name} to the channel's ID", key="channel")
            channel = variable
        elif not _SLACK_ID.fullmatch(channel):
            todo = 'its ID (C…, see "About" of the channel) is safer: it outlives a new name'
            config.note(
                f"the channel {channel!r} is given by its name", todo, key="channel", once="channel names"
            )
        return {"slack": {"channel": channel}}

    def _bot_token(self, config: Node) -> Any:
        """None: it posts to an incoming webhook, as most do."""
        url = config.text("api_url") or self._globals.text("slack_api_url")
        positions = [(config, "app_token"), (self._globals, "slack_app_token")]
        if _split(url).path.startswith("/api/"):
            positions.append((self._http(config, "")[0].piece("authorization"), "credentials"))
        found = (self._variables.secret(piece, key, "SLACK_BOT_TOKEN") for piece, key in positions)
        return next((token for token in found if token is not None), None)

    def _workspace(self, config: Node) -> None:
        """Whether this posts to where the others do."""
        if config.text("api_url_file"):
            return
        piece, key = (config, "api_url") if config.text("api_url") else (self._globals, "slack_api_url")
        url = _split(piece.text(key))
        if not _SLACK_HOSTS.fullmatch(url.hostname or "slack.com"):
            what = f"{key} is not Slack's, but of a server that takes Slack's messages"
            todo = "use a `webhook` destination, or `channels.slack.api_url` if it has Slack's Web API"
            piece.note(what, todo, key=key)
        elif (hook := _HOOK.match(url.path)) is not None:
            self._workspaces.add(hook.group(1))
            if len(self._workspaces) > 1:
                what = "this posts to another Slack workspace than the configs before it"
                piece.note(what, "a bot is in one workspace: name a channel of that one", key=key)

    def _pagerduty(self, config: Node, receiver: str) -> dict[str, Any] | None:
        key = self._variables.secret(config, "routing_key", receiver, "PAGERDUTY_ROUTING_KEY")
        old = next((key for key in ("service_key", "service_key_file") if config.raw(key)), None)
        if key is None and old is not None:
            key = self._variables.new(receiver, "PAGERDUTY_ROUTING_KEY")
            todo = f"add an Events API v2 integration to the service, and set {key.name} to its key"
            config.note(f"{old} is of PagerDuty's Events API v1", todo, key=old)
        if key is None:
            config.note("pagerduty_configs has no routing_key; it is left out", REFUSED)
            return None
        piece, position = (config, "url") if config.text("url") else (self._globals, "pagerduty_url")
        url = piece.text(position)
        settings = {} if url in {None, _PAGERDUTY} else {"events_url": self._address(piece, position)}
        if self.channels.setdefault("pagerduty", settings) != settings:
            piece.note(
                "this has another address of PagerDuty", "routes.yaml has one, `events_url`", key=position
            )
        return {"pagerduty": {"routing_key": key, "name": self._name("pagerduty", receiver, {"key": key})}}

    def _address(self, piece: Node, key: str) -> Any:
        """A URL, unless it may hold a secret."""
        url = piece.text(key)
        parts = _split(url)
        if parts.scheme and not parts.query and "@" not in parts.netloc:
            return url
        return self._variables.secret(piece, key, "PAGERDUTY_EVENTS_URL")

    def _email(self, config: Node, _receiver: str) -> dict[str, Any] | None:
        given = {key: config.text(key) or self._globals.text(f"smtp_{key}") for key in _SMTP}
        if "email" not in self.channels:
            self._smtp = given
            self.channels["email"] = self._smarthost(config)
        elif others := [key for key in _SMTP if given[key] != self._smtp[key]]:
            what = f"this mail has another {', '.join(others)} than the one before"
            config.note(what, "routes.yaml has one smarthost and one sender", key=others[0])
        to = []
        for name, address in getaddresses([config.text("to") or ""]):
            full = f"{name} <{address}>" if name else address
            try:
                EmailOptions.model_validate({"to": [full]})
            except ValidationError:
                config.note("there is something in `to` that is no address", "write the addresses", key="to")
            else:
                to.append(full)
        return {"email": {"to": to}} if to else None

    def _smarthost(self, config: Node) -> dict[str, Any]:
        def position(key: str) -> tuple[Node, str]:
            own = config.data.get(key) is not None or config.data.get(f"{key}_file") is not None
            return (config, key) if own else (self._globals, f"smtp_{key}")

        settings: dict[str, Any] = {"smarthost": self._smtp["smarthost"], "from": self._smtp["from"]}
        for key, (what, _) in problems(EmailSettings, settings).items():
            default = "localhost:25" if key == "smarthost" else "alerts@example.com"
            variable = settings[key] = self._variables.new("SMTP", key, default=default)
            piece, at = position(key)
            piece.note(f"{what}; it is not copied", f"set {variable.name}", key=at)
        if hello := self._smtp["hello"]:
            settings["hello"] = hello
        username = self._smtp["auth_username"]
        password = self._smtp["auth_password"] or self._smtp["auth_password_file"]
        if username and password:
            secret = self._variables.secret(*position("auth_password"), "SMTP_PASSWORD")
            settings |= {"username": username, "password": secret}
        elif username or password:
            piece, at = position("auth_username" if username else "auth_password")
            piece.note("username and password go together; neither is taken", "give both", key=at)
        if (tls := self._tls(position, settings)) is not None:
            settings["tls"] = tls
        return settings

    def _tls(self, position: Callable[[str], tuple[Node, str]], settings: dict[str, Any]) -> str | None:
        """None: what the port says. https://github.com/prometheus/alertmanager/blob/main/notify/email/email.go"""
        by_port = str(settings["smarthost"]).endswith(":465")
        piece, key = position("force_implicit_tls")
        if piece.flag(key, default=by_port):
            return None if by_port else "implicit"
        piece, key = position("require_tls")
        if piece.flag(key, default=True):
            return "starttls" if by_port else None
        if "password" not in settings:
            return "none"
        todo = "tls is starttls now; without it, leave username and password out"
        piece.note(f"{key} is false, and a password would go in clear", todo, key=key)
        return "starttls"

    def _webhook(self, config: Node, receiver: str) -> dict[str, Any] | None:
        http, owner = self._http(config, receiver)
        url = _split(config.text("url"))
        if url.port == _PORT and f"{url.path}/".startswith("/webhook/"):
            config.note("this is the router itself; it is left out", "keep it in Alertmanager", key="url")
            config.take(*config.data)
            return None
        if url.username is not None:
            names = [
                self._variables.new(receiver, "WEBHOOK", word) for word in ("URL", "USERNAME", "PASSWORD")
            ]
            todo = f"set {names[0].name} to it without them, and {names[1].name} and {names[2].name} to them"
            config.note("url holds a user and a password", todo, key="url")
            options: dict[str, Any] = {
                "url": names[0],
                "basic_auth": {"username": names[1], "password": names[2]},
            }
        else:
            options = {"url": self._variables.secret(config, "url", receiver, "WEBHOOK_URL")}
            options |= self._credentials(http, owner)
        if options["url"] is None:
            config.note("webhook_configs has no url; it is left out", REFUSED)
            return None
        self.channels.setdefault("webhook", {})
        return {"webhook": {**options, "name": self._name("webhook", receiver, options)}}

    def _discord(self, config: Node, receiver: str) -> dict[str, Any] | None:
        secret = self._variables.secret(config, "webhook_url", receiver, "DISCORD_WEBHOOK_URL")
        if secret is None:
            config.note("discord_configs has no webhook_url; it is left out", REFUSED)
            return None
        self.channels.setdefault("discord", {})
        name = self._name("discord", receiver, {"url": secret})
        return {"discord": {"webhook_url": secret, "name": name}}

    def _credentials(self, http: Node, owner: str) -> dict[str, Any]:
        basic, authorization = http.piece("basic_auth"), http.piece("authorization")
        if basic.data:
            basic.take("password", "password_file")
            if (username := basic.text("username")) and ":" not in username:
                password = self._variables.secret(basic, "password", owner, "WEBHOOK_PASSWORD")
                if password is not None:
                    return {"basic_auth": {"username": username, "password": password}}
            what = "basic_auth has no username or no password that can be taken from here"
            basic.note(what, "give both in routes.yaml")
        if (authorization.text("type") or "Bearer").casefold() != "bearer":
            authorization.take("credentials", "credentials_file")
            what = "authorization is of another type than Bearer; it is not taken"
            authorization.note(what, "use bearer_token or basic_auth", key="type")
            return {}
        token = self._variables.secret(authorization, "credentials", owner, "WEBHOOK_TOKEN")
        token = token or self._variables.secret(http, "bearer_token", owner, "WEBHOOK_TOKEN")
        return {} if token is None else {"bearer_token": token}

    def _http(self, config: Node, receiver: str) -> tuple[Node, str]:
        """How it connects, and whose that is: its own, or everybody's."""
        if config.data.get("http_config") is not None:
            return config.piece("http_config"), receiver
        return self._globals.piece("http_config"), ""

    def _name(self, channel: str, receiver: str, options: dict[str, Any]) -> str:
        """One for each place that is told."""
        stem = _NAMES.sub("-", receiver).strip("-")[:60] or channel
        names = [name for (kind, name), given in self._named.items() if kind == channel and given == options]
        for name in (*names, stem, *(f"{stem}-{number}" for number in range(2, 1000))):
            if self._named.setdefault((channel, name), options) == options:
                return name
        return stem


def _split(url: str | None) -> SplitResult:
    """The parts of a URL; none of what is no URL."""
    try:
        if (parts := urlsplit(url or "")).port != 0:
            return parts
    except ValueError:  # also that of a port which is no number
        pass
    return urlsplit("")


def findings(model: type[BaseModel], data: dict[str, Any]) -> dict[Location, tuple[str, str]]:
    """What is wrong and what to do, by where it is."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        return {detail["loc"]: describe_finding(detail, detail["loc"]) for detail in error.errors()}
    return {}


def problems(model: type[BaseModel], data: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """As :func:`findings`, by the key of the model."""
    return {str(where[0]): said for where, said in findings(model, data).items() if where}
