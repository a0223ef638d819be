"""A channel is one module: a toy channel of this file gets everything that the shipped ones have from one registry line."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from markupsafe import Markup
from pydantic import SecretStr

from router.app import ServeOptions, Service
from router.channels import REGISTRY
from router.channels.base import ChannelSettings, ChannelSpec, DestinationOptions
from router.channels.drawing import SentMessage, tag
from router.channels.importing import ChannelImport, Node
from router.clock import SystemClock
from router.config import ConfigError, Trap, loads
from router.model import Conversation, Delivered, Destination, LaneLimits, Message, Outcome
from router.network import Network
from router.render import Templates
from router.rules.check import check_file
from router.rules.convert import convert_text

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC


class ToySettings(ChannelSettings):
    bell_code: SecretStr


class ToyOptions(DestinationOptions):
    room: str

    def key(self, receiver: str) -> str:
        return f"toy:{self.room}"


class ToyChannel:
    def __init__(self, settings: ToySettings, network: Network) -> None:
        self._settings = settings

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        names = ", ".join(each.alert.labels["alertname"] for each in conversation.alerts)
        return Message("toy", {"text": f"{names}: {'over' if conversation.over else 'firing'}"})

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        return Delivered()

    async def close(self) -> None:
        pass


def draw_toy(message: SentMessage) -> Markup:
    return tag("p", " after ".join(each.body["text"] for each in (message, *reversed(message.earlier))))


class ToyImport(ChannelImport):
    configs_key = "toy_configs"
    global_keys = ("toy_code",)
    message_keys = frozenset({"jingle"})
    sends_resolved = False

    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:
        code = self.context.variables.secret(self.context.global_node, "toy_code", "TOY_CODE")
        self.settings = {"bell_code": code}
        return {"room": config.text("room") or receiver}


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ChannelSpec(
        name="toy", section="toy", settings=ToySettings, options=ToyOptions, make=ToyChannel, limits=LaneLimits(),
        placeholder={"bell_code": "preview"}, title="Toy bell", nothing_sent="No bell yet.", draw=draw_toy,
        importer=ToyImport, secret_pattern=r"\bbell-[0-9a-f]{8}\b", secret_keys_elsewhere=frozenset({"chime"}),
    )  # fmt: skip
    monkeypatch.setitem(REGISTRY, "toy", spec)


RULES = """
channels: {{toy: {{bell_code: {code}}}}}
receivers: {{team: [toy: {{room: {room}}}]}}
route: {{receiver: team}}
"""


def test_a_toy_channel_is_configured() -> None:
    text = RULES.format(code="{file: code}", room="kitchen")
    config = loads(text, name="routes.yaml", folder=Path(), environ={}, now=NOW, preview=True)
    assert list(config.policy.destinations) == ["toy:kitchen"]


def test_secrets_of_a_toy_channel_are_masked() -> None:
    """By its model's field, by its pattern, and by a key of another program; in whole YAML and in broken YAML."""
    text = RULES.format(code="Geheim1234", room="bell-0123abcd") + "chime: Geheim5678\n"
    for broken in (text, f"{text}x: ["):
        with pytest.raises(ConfigError) as caught:
            loads(broken, name="routes.yaml", folder=Path(), environ={}, now=NOW)
        shown = f"{caught.value.shown}{caught.value.texts}"
        assert "Geheim" not in shown
        assert "bell-0123abcd" not in shown


def test_check_knows_a_toy_channel(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(RULES.format(code="${TOY_CODE}", room="kitchen"))
    (problem,) = check_file(path, {}, NOW).problems
    assert problem.trap is Trap.CREDENTIALS
    path.write_text(RULES.format(code="x" * 8, room="kitchen, colour: red"))
    (problem,) = check_file(path, {}, NOW).problems
    assert "unknown key 'colour'; the keys here are: " in str(problem)
    assert "room" in problem.todo


def test_a_toy_channel_is_imported() -> None:
    converted = convert_text(
        "{global: {toy_code: Geheim}, route: {receiver: a}, receivers: [{name: a, toy_configs: [{jingle: x}]}]}"
    )
    assert 'channels:\n  toy: {bell_code: "${TOY_CODE}"}' in converted.text
    assert "- toy: {room: a}" in converted.text
    notes = "\n".join(map(str, converted.notes))
    assert "Geheim" not in converted.text + notes
    assert "toy_configs: jingle has no counterpart; the router writes its own messages" in notes
    assert "send_resolved is absent" in notes


async def test_the_preview_has_a_tab_for_a_toy_channel(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(RULES.format(code="{file: code}", room="kitchen"))
    options = ServeOptions(tmp_path / "routes.yaml", ("127.0.0.1", 0), preview=True, drain=0)
    service = await Service.open(options, {}, SystemClock())
    try:
        await service.start()
        assert service.outbox is not None
        changes = service.outbox.changes()
        async with aiohttp.ClientSession() as session:
            for updates, status in enumerate(("firing", "resolved")):
                alert = {"status": status, "labels": {"alertname": "<b>", "severity": "critical"}}
                async with session.post(
                    f"{service.url}/webhook", json={"status": status, "alerts": [alert]}
                ) as answer:
                    assert answer.status == 200
                async for _ in changes:
                    if [entry.updates for entry in service.outbox.entries] == [updates]:
                        break
            async with session.get(f"{service.url}/preview/state") as answer:
                state = await answer.json()
    finally:
        await service.stop()
    assert state["tabs"] == [{"name": "toy", "title": "Toy bell", "nothing_sent": "No bell yet."}]
    (entry,) = state["entries"]
    assert entry["card"].endswith("<p>&lt;b&gt;: over after &lt;b&gt;: firing</p></article>")
    assert "toy:kitchen · updated 1 time" in entry["card"]
