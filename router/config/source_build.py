"""Turns the models of ``sources:`` into frozen sources."""

from pydantic import SecretStr

from router.config.models import AlertmanagerAuth, SourceModel
from router.model import Alertmanager, Source


def source_of(model: SourceModel) -> Source:
    """Return a source with its credentials as plain text."""
    basic = model.basic_auth
    password_hash = _plain(basic.password_hash) if basic is not None else None
    urls, auth = model.alertmanager_url, model.alertmanager_auth or AlertmanagerAuth()
    asked = (
        None if urls is None else Alertmanager(urls, model.ask_every, model.gone_after, *_credentials(auth))
    )
    return Source(
        model.name, *_credentials(model), password_hash, asked, model.silent_after, model.silent_receiver
    )


def _credentials(model: SourceModel | AlertmanagerAuth) -> tuple[str | None, str | None, str | None]:
    """Return the token, the user name and the password."""
    token, basic = model.bearer_token, model.basic_auth
    return (
        _plain(token),
        basic.username if basic is not None else None,
        _plain(basic.password) if basic is not None else None,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
