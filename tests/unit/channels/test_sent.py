"""What is kept of a message holds no secret, whatever the channel."""

import json

from router.deliver.kept_message import packed_message
from tests.unit.channels.rigs import ChannelRig, channel_at
from tests.unit.channels.talk import TEMPLATES


def test_what_is_kept_of_a_message_holds_no_secret(name: str, rig: ChannelRig) -> None:
    channel, there = channel_at(name, "127.0.0.1:9")
    assert rig.secrets
    for talk in rig.conversations:
        message = channel.render(there, talk, TEMPLATES)
        kept = packed_message(message, len(talk.alerts)).decode()
        assert json.loads(kept)["body"] == json.loads(json.dumps(message.body))
        assert [secret for secret in rig.secrets if secret in kept] == []
