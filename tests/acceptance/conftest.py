"""The whole: the real Alertmanager, the real router, and providers that refuse what the vendors refuse."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.world.fake_pagerduty import KEY, FakePagerDuty
from tests.world.fake_slack import TOKEN, FakeSlack
from tests.world.fake_smtp import FakeSmtp

ROUTES = """
timezone: UTC
channels:
  slack: {{token: {token}, api_url: "{slack}"}}
  pagerduty: {{events_url: "{pagerduty}"}}
  email: {{smarthost: "{smtp}", from: alerts@example.com, tls: none}}
receivers:
  oncall:
    - pagerduty: {{routing_key: {key}}}
    - slack: {{channel: C0CRITICAL}}
    - email: {{to: [oncall@example.com]}}
  team:
    - slack: {{channel: C0WARNINGS}}
    - email: {{to: [team@example.com]}}
  daily:
    - digest: {{to: [digest@example.com], at: "08:00"}}
time_intervals:
  - name: office
    time_intervals:
      - {{weekdays: ["monday:friday"], times: [{{start_time: "09:00", end_time: "18:00"}}]}}
route:
  receiver: team
  routes:
    - {{severity: critical, receiver: oncall}}
    - {{severity: warning, receiver: team, active_time_intervals: [office], outside: hold}}
    - {{severity: info, receiver: daily}}
inhibit_wait: 1s
inhibit_rules:
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity=~"warning|info"']
    equal: [alertname, cluster]
"""


@dataclass
class Providers:
    slack: FakeSlack
    pagerduty: FakePagerDuty
    mail: FakeSmtp

    def subjects(self, to: str) -> list[str]:
        """Of the mails to one address."""
        return [mail.subject for mail in self.mail.mails if to in mail.recipients]

    @property
    def routes(self) -> str:
        """A routes.yaml that leads to them: the policy out of the box, in UTC."""
        return ROUTES.format(
            token=TOKEN, slack=self.slack.url, pagerduty=self.pagerduty.url, key=KEY, smtp=self.mail.smarthost
        )


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with FakeSlack() as slack, FakePagerDuty() as pagerduty, FakeSmtp() as mail:
        yield Providers(slack, pagerduty, mail)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
