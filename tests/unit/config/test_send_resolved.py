"""``send_resolved`` is an option of every destination, except a digest."""

from pathlib import Path

import pytest

from router.channels import destination_as_json, destination_from_json
from router.config import ConfigError, load
from router.model import Destination

_FILE = """
channels:
  slack: {token: xoxb-1}
  email: {smarthost: "smtp.example.com:587", from: alerts@example.com}
receivers:
  team:
    - slack: {channel: C012345678%s}
    - digest: {to: [team@example.com], at: "08:00"%s}
route: {receiver: team}
"""


def destinations(tmp_path: Path, slack: str = "", digest: str = "") -> tuple[Destination, ...]:
    file = tmp_path / "routes.yaml"
    file.write_text(_FILE % (slack, digest))
    return load(file, environ={}, now=0).policy.receivers["team"]


def test_ends_are_sent_by_default(tmp_path: Path) -> None:
    assert [each.send_resolved for each in destinations(tmp_path)] == [True, True]


def test_false_is_read_from_the_file_and_from_the_store(tmp_path: Path) -> None:
    slack, digest = destinations(tmp_path, ", send_resolved: false")
    assert not slack.send_resolved
    assert destination_from_json(slack.key, destination_as_json(slack)) == slack
    kept = destination_from_json(digest.key, destination_as_json(digest))
    assert kept is not None
    assert kept.send_resolved


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_digest_refuses_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError) as error:
        destinations(tmp_path, digest=f", send_resolved: {value}")
    assert "send_resolved is not an option of a digest: a digest reports what ended" in str(error.value)
