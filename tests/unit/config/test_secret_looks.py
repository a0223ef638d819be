"""A text that matches the ``secret_pattern`` of a channel is masked in any position."""

import pytest

from router.channels import REGISTRY
from router.config.secrets import Secrets
from tests.unit.channels.rigs import rig_of


@pytest.mark.parametrize("name", sorted(name for name, spec in REGISTRY.items() if spec.secret_pattern))
def test_what_looks_like_a_secret_is_masked(name: str) -> None:
    texts = rig_of(name).secret_texts
    assert texts, f"give {name}_rig.py secret_texts: the channel has a secret_pattern"
    for secret in texts:
        masked = Secrets().mask(f"https://{secret} is wrong")
        assert secret.rpartition("/")[2] not in masked
        assert masked.endswith(" is wrong")


@pytest.mark.parametrize(
    "text", ["https://logic.azure.com", "12:30", "docs of powerplatform.com", "2026-11-20T10:00"]
)
def test_other_texts_are_not_masked(text: str) -> None:
    assert Secrets().mask(text) == text
