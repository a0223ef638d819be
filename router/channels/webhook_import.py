"""The webhook's part of an alertmanager.yml: ``webhook_configs``.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from typing import Any

from router.channels.importing import CORRECT_IT, ChannelImport, Node, split_url

_ROUTER_PORT = 9099


class WebhookImport(ChannelImport):
    """An address becomes a variable, with the credentials of its ``http_config``."""

    configs_key = "webhook_configs"
    message_keys = frozenset({"payload"})

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:
        http, owner = self.context.http_config(config, receiver)
        url = split_url(config.text("url"))
        if url.port == _ROUTER_PORT and f"{url.path}/".startswith("/webhook/"):
            config.note("this is the router itself; it is left out", "keep it in Alertmanager", key="url")
            config.take(*config.data)
            return None
        if url.username is not None:
            options = self._with_user(config, receiver)
        else:
            address = self.context.variables.secret(config, "url", receiver, "WEBHOOK_URL")
            options = {"url": address, **self._credentials(http, owner)}
        if options["url"] is None:
            config.note("webhook_configs has no url; it is left out", CORRECT_IT)
            return None
        if self.settings is None:
            self.settings = {}
        return {**options, "name": self.context.destination_name(receiver, options)}

    def _with_user(self, config: Node, receiver: str) -> dict[str, Any]:
        """Return the options of an address that holds a user and a password."""
        url, username, password = (
            self.context.variables.new(receiver, "WEBHOOK", word) for word in ("URL", "USERNAME", "PASSWORD")
        )
        todo = f"set {url.name} to the URL without them, {username.name} to the user, and {password.name} to the password"
        config.note("url holds a user and a password", todo, key="url")
        return {"url": url, "basic_auth": {"username": username, "password": password}}

    def _credentials(self, http: Node, owner: str) -> dict[str, Any]:
        secret = self.context.variables.secret
        basic, authorization = http.node("basic_auth"), http.node("authorization")
        if basic.data:
            basic.take("password", "password_file")
            if (username := basic.text("username")) and ":" not in username:
                password = secret(basic, "password", owner, "WEBHOOK_PASSWORD")
                if password is not None:
                    return {"basic_auth": {"username": username, "password": password}}
            what = "basic_auth has no username or no password that can be copied"
            basic.note(what, "give both in routes.yaml")
        if (authorization.text("type") or "Bearer").casefold() != "bearer":
            authorization.take("credentials", "credentials_file")
            what = "authorization has another type than Bearer; it is left out"
            authorization.note(what, "use bearer_token or basic_auth", key="type")
            return {}
        token = secret(authorization, "credentials", owner, "WEBHOOK_TOKEN")
        token = token or secret(http, "bearer_token", owner, "WEBHOOK_TOKEN")
        return {} if token is None else {"bearer_token": token}
