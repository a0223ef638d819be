"""The default policy, in UTC, with the fakes as providers."""

from tests.world.fake_pagerduty import KEY, FakePagerDuty
from tests.world.fake_slack import TOKEN, FakeSlack
from tests.world.fake_smtp import FakeSmtp

_ROUTES = """
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
stale_after: 0
inhibit_rules:
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity=~"warning|info"']
    equal: [alertname, cluster]
"""


def rules(slack: FakeSlack, pagerduty: FakePagerDuty, smtp: FakeSmtp) -> str:
    """Return a routes.yaml."""
    return _ROUTES.format(token=TOKEN, slack=slack.url, pagerduty=pagerduty.url, key=KEY, smtp=smtp.smarthost)
