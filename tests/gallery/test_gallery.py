"""docs/gallery/ has the messages that the router sends now, and providers take every one of them.

``UPDATE_GOLDEN=1 pytest`` writes the texts again; ``make gallery`` also makes the pictures.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.app import ServeOptions, Service
from router.model import SECOND
from tests.clock import ManualClock
from tests.gallery.alertmanager_defaults import default_texts, is_available
from tests.gallery.incidents import incident_names, load_incident
from tests.gallery.pictures import MAX_PICTURE_BYTES
from tests.gallery.playing import RULES, messages_of, play
from tests.gallery.texts import ALERTMANAGER, GALLERY, index, texts_of
from tests.world import fake_slack, fake_telegram
from tests.world.fake_pagerduty import KEY, FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.fake_telegram import FakeTelegram

_MAX_GALLERY_BYTES = 3_000_000


def check_text(path: Path, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} is out of date: run make gallery, and look at the changes"


@pytest.mark.parametrize("name", incident_names())
async def test_the_texts_are_what_the_router_sends(name: str) -> None:
    texts = texts_of(await messages_of(load_incident(name)))
    for channel, text in texts.items():
        check_text(GALLERY / name / f"{channel}.txt", text)
    files = {path.stem for path in (GALLERY / name).iterdir()}
    assert files == {*texts, "alertmanager"}


@pytest.mark.skipif(not is_available(), reason="needs amtool: apt-get install prometheus-alertmanager")
@pytest.mark.parametrize("name", ["04-probe-failed", "09-one-group-of-several-alerts"])
def test_alertmanagers_texts_are_what_it_gives(name: str) -> None:
    check_text(GALLERY / name / ALERTMANAGER, default_texts(load_incident(name)))


def test_the_index_names_every_incident() -> None:
    check_text(GALLERY / "README.md", index(map(load_incident, incident_names())))


def test_the_gallery_is_small() -> None:
    sizes = {path: path.stat().st_size for path in GALLERY.rglob("*") if path.is_file()}
    assert [
        path.name for path, size in sizes.items() if path.suffix == ".png" and size > MAX_PICTURE_BYTES
    ] == []
    assert sum(sizes.values()) < _MAX_GALLERY_BYTES


@dataclass
class Providers:
    slack: FakeSlack
    pagerduty: FakePagerDuty
    smtp: FakeSmtp
    telegram: FakeTelegram

    def rules(self) -> str:
        """Return the rules of the gallery, with the fakes as providers."""
        text = RULES.read_text()
        for old, new in (
            (
                "slack: {token: ${SLACK_TOKEN}}",
                f'slack: {{token: {fake_slack.TOKEN}, api_url: "{self.slack.url}"}}',
            ),
            ("pagerduty: {}", f'pagerduty: {{events_url: "{self.pagerduty.url}"}}'),
            ('"smtp.example.com:587"', f'"{self.smtp.smarthost}", tls: none'),
            (
                "{token: ${TELEGRAM_TOKEN}}",
                f"{{token: '{fake_telegram.TOKEN}', api_url: '{self.telegram.url}'}}",
            ),
            ("${PAGERDUTY_KEY}", KEY),
            ("chat_id: 100", f"chat_id: {fake_telegram.CHAT}"),
        ):
            assert old in text
            text = text.replace(old, new)
        return text

    def violations(self) -> list[str]:
        """Return what the providers refused for its content."""
        bodies = [body for _, body in self.slack.calls if "channel" in body]
        refused = [self.slack.refuses(body, posting="ts" not in body) for body in bodies]
        return [
            *(f"slack: {why}" for why in refused if why),
            *(f"pagerduty: {event.body}" for event in self.pagerduty.events if event.status == 400),
            *(f"smtp: {why}" for why in self.smtp.refusals),
            *(f"telegram: {why}" for why in self.telegram.refusals),
        ]


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with AsyncExitStack() as stack:
        yield Providers(
            await stack.enter_async_context(FakeSlack({"C0ONCALL": "oncall"})),
            await stack.enter_async_context(FakePagerDuty()),
            await stack.enter_async_context(FakeSmtp()),
            await stack.enter_async_context(FakeTelegram()),
        )


@pytest.mark.parametrize("name", incident_names())
async def test_no_message_breaks_a_limit_of_its_provider(
    name: str, tmp_path: Path, providers: Providers
) -> None:
    incident = load_incident(name)
    (tmp_path / "routes.yaml").write_text(providers.rules())
    clock = ManualClock(incident.steps[0].at - SECOND)
    database = f"sqlite:///{tmp_path}/router.db"
    options = ServeOptions(
        tmp_path / "routes.yaml", ("127.0.0.1", 0), database=database, metrics=False, drain=0
    )
    service = await Service.open(options, {}, clock)
    await service.start()
    try:
        for step in incident.steps:
            await play(service, clock, step)
        fates = (await service.store.pages.status())["fates"]
    finally:
        await service.stop()
    assert providers.violations() == []
    assert not fates.get("dead")
    assert fates["delivered"] > 0
