"""The real Alertmanager, the real router, and fake providers that refuse what the vendors refuse."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.rules import rules


@dataclass
class Providers:
    slack: FakeSlack
    pagerduty: FakePagerDuty
    mail: FakeSmtp

    def subjects(self, to: str) -> list[str]:
        """Return the subjects of the mails to one address."""
        return [mail.subject for mail in self.mail.mails if to in mail.recipients]

    @property
    def routes(self) -> str:
        return rules(self.slack, self.pagerduty, self.mail)


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with FakeSlack() as slack, FakePagerDuty() as pagerduty, FakeSmtp() as mail:
        yield Providers(slack, pagerduty, mail)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
