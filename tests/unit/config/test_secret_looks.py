"""Texts that look like secrets are masked in any position. The channels define how secrets look."""

import pytest

from router.config.secrets import Secrets


@pytest.mark.parametrize(
    "secret",
    [
        "hooks.slack.com/services/T0/B0/xyz",
        "xoxb-1234-abcd",
        "discord.com/api/webhooks/1/token",
        "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawx",
        "prod-1.westus.logic.azure.com:443/workflows/1/triggers/manual/paths/invoke?sig=abc",
        "env.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/1?sig=abc",
        "contoso.webhook.office.com/webhookb2/1/IncomingWebhook/2",
    ],
)
def test_what_looks_like_a_secret_is_masked(secret: str) -> None:
    masked = Secrets().mask(f"https://{secret} is wrong")
    assert secret.rpartition("/")[2] not in masked
    assert masked.endswith(" is wrong")


@pytest.mark.parametrize(
    "text", ["https://logic.azure.com", "12:30", "docs of powerplatform.com", "2026-11-20T10:00"]
)
def test_other_texts_are_not_masked(text: str) -> None:
    assert Secrets().mask(text) == text
