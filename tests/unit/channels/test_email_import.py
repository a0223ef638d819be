"""What `import` makes of the parts of email_configs that are about headers, EHLO and certificates."""

import json
from pathlib import Path
from typing import Any

import certifi
import pytest

from router.channels.email import EmailOptions, EmailSettings
from router.config import Config, loads
from router.rules.convert import Converted, convert_text

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
GLOBAL = {"smtp_smarthost": "smtp.example.com:587", "smtp_from": "alerts@example.com"}


def converted(*configs: Any, **smtp: Any) -> Converted:
    """Convert an alertmanager.yml with a receiver for each email_config (JSON is YAML)."""
    receivers = [{"name": f"team{n}", "email_configs": [{"send_resolved": True, **each}]} for n, each in enumerate(configs)]  # fmt: skip
    routes = [{"receiver": each["name"]} for each in receivers]
    whole = {
        "global": {**GLOBAL, **smtp},
        "route": {"receiver": "team0", "routes": routes},
        "receivers": receivers,
    }
    return convert_text(json.dumps(whole), now=NOW)


def load(result: Converted) -> Config:
    return loads(result.text, name="routes.yaml", folder=Path("/nowhere"), environ={}, now=NOW, preview=True)


def options(config: Config, receiver: str = "team0") -> EmailOptions:
    (destination,) = config.policy.receivers[receiver]
    assert isinstance(destination.options, EmailOptions)
    return destination.options


def settings(config: Config) -> EmailSettings:
    found = config.settings["email"]
    assert isinstance(found, EmailSettings)
    return found


def test_headers_and_reply_to_are_copied() -> None:
    headers = {"X-Priority": "1", "reply-TO": "Team <team@example.com>", "X-Team": "Größe: 1"}
    result = converted({"to": "a@example.com", "headers": headers})
    assert result.notes == ()
    found = options(load(result))
    assert found.reply_to == "Team <team@example.com>"
    assert found.headers == {"X-Priority": "1", "X-Team": "Größe: 1"}


@pytest.mark.parametrize(
    ("headers", "note"),
    [
        ({"Subject": "Alert!"}, "Subject is a header that the router or a mail server sets; it is not copied; change the block subject"),
        ({"X-Name": "{{ .CommonLabels.alertname }}"}, "X-Name is a Go template; it is not copied"),
        ({"Reply-To": "a@example.com, b@example.com"}, "reply_to is no email address"),
        ({"X-A": "1\nBcc: eve@example.com"}, "the value of X-A is not one line"),
        ({"From": "b@example.com"}, "set `from` of channels.email"),
    ],
)  # fmt: skip
def test_a_header_that_can_not_be_copied_is_noted(headers: dict[str, str], note: str) -> None:
    result = converted({"to": "a@example.com", "headers": {**headers, "X-Kept": "yes"}})
    assert note in "\n".join(map(str, result.notes))
    assert len(result.notes) == 1
    found = options(load(result))
    assert (found.headers, found.reply_to) == ({"X-Kept": "yes"}, None)


def test_the_same_recipients_have_one_set_of_headers() -> None:
    same = {"to": "a@example.com", "headers": {"X-Team": "one"}}
    other = {"to": "a@example.com", "headers": {"X-Team": "other"}}
    assert converted(same, same).notes == ()
    result = converted(same, other)
    assert "another mail to these recipients has other headers" in str(result.notes[0])
    config = load(result)
    assert options(config) == options(config, "team1")


@pytest.mark.parametrize(
    ("given", "hello", "noted"),
    [("mx.example.com", "mx.example.com", 0), ("localhost", None, 0), ("no name", None, 1), (None, None, 0)],
)
def test_hello_is_copied_unless_it_is_alertmanagers_default(
    given: str | None, hello: str | None, noted: int
) -> None:
    result = converted({"to": "a@example.com"}, **({} if given is None else {"smtp_hello": given}))
    assert len(result.notes) == noted
    assert settings(load(result)).hello == hello


@pytest.mark.parametrize("is_global", [False, True])
def test_the_authority_of_the_smarthost_is_copied(is_global: bool) -> None:
    tls = {"ca_file": certifi.where()}
    result = (
        converted({"to": "a@example.com"}, smtp_tls_config=tls) if is_global
        else converted({"to": "a@example.com", "tls_config": tls})
    )  # fmt: skip
    assert result.notes == ()
    config = load(result)
    assert settings(config).ca_file == certifi.where()
    assert (
        settings(config).certificates.startswith("-----BEGIN")
        or "-----BEGIN" in settings(config).certificates
    )


def test_other_keys_of_tls_config_and_a_relative_path_are_noted() -> None:
    tls = {"ca_file": "ca.pem", "insecure_skip_verify": True}
    result = converted({"to": "a@example.com", "tls_config": tls})
    notes = "\n".join(map(str, result.notes))
    assert "insecure_skip_verify has no counterpart" in notes
    assert "ca_file is a relative path; in routes.yaml it starts from the folder of routes.yaml" in notes
    assert "ca_file: ca.pem" in result.text


def test_a_mail_with_another_authority_than_the_first_is_noted() -> None:
    tls = {"ca_file": certifi.where()}
    result = converted({"to": "a@example.com"}, {"to": "b@example.com", "tls_config": tls})
    assert "this mail has another tls_config than the mail before it" in str(result.notes[0])
