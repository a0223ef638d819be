"""The alert router: Alertmanager's webhooks in; Slack, PagerDuty, email and digests out; nothing lost."""
