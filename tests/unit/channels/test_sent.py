"""What is kept of a message holds no secret, whatever the channel."""

import json

import pytest

from router.channels import REGISTRY
from router.deliver.kept_message import packed_message
from tests.unit.channels.rigs import RIGS
from tests.unit.channels.talk import TEMPLATES, destination


@pytest.mark.parametrize("name", sorted(RIGS))
def test_what_is_kept_of_a_message_holds_no_secret(name: str) -> None:
    rig, kind = RIGS[name], REGISTRY[name]
    at = "127.0.0.1:9"
    channel = rig.make(kind.settings.model_validate(rig.settings(at)), 1.0)
    there = destination(name, kind.options.model_validate(rig.options(at)))
    assert rig.secrets
    for talk in rig.talks:
        message = channel.render(there, talk, TEMPLATES)
        kept = packed_message(message, len(talk.alerts)).decode()
        assert json.loads(kept)["body"] == json.loads(json.dumps(message.body))
        assert [secret for secret in rig.secrets if secret in kept] == []
