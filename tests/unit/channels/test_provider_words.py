"""What a provider says is shown to people, and no secret in it."""

import base64

import pytest

from router.channels.provider_words import masked_outcome
from router.channels.webhook import WebhookOptions
from router.model import Broken


@pytest.mark.parametrize("secret", ["correct  horse battery", "with\ta tab", "two\nlines", "plain-secret"])
def test_a_secret_is_masked_as_it_is_and_with_its_blanks_folded(secret: str) -> None:
    for said in (secret, " ".join(secret.split())):
        shown = masked_outcome(Broken("x", words=f"535 no user with {said!s} here"), [secret])
        assert isinstance(shown, Broken)
        assert shown.words == "535 no user with *** here"


def test_the_header_of_a_basic_login_is_masked() -> None:
    options = WebhookOptions.model_validate(
        {
            "url": "https://example.com/hook",
            "basic_auth": {"username": "router", "password": "hunter2hunter2"},
        }
    )
    header = base64.b64encode(b"router:hunter2hunter2").decode()
    shown = masked_outcome(Broken("x", words=f"bad Authorization: Basic {header}"), options.secrets)
    assert isinstance(shown, Broken)
    assert header not in shown.words
