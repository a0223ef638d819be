"""What Alertmanager's default templates give for the webhooks of an incident, by ``amtool template render``."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.gallery.incidents import Incident

# Debian's package prometheus-alertmanager has it there.
TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")
_SHOWN = {
    "Slack title": "slack.default.title",
    "Slack text": "slack.default.text",
    "PagerDuty description": "pagerduty.default.description",
    "Email subject": "email.default.subject",
    "PagerDuty details (firing)": "pagerduty.default.instances",
    "Telegram": "telegram.default.message",
}
_MAX_LINES = 40


def is_available() -> bool:
    return shutil.which("amtool") is not None and TEMPLATES.exists()


def default_texts(incident: Incident) -> str:
    """Return the texts for each step that posts something; of several groups those of the first."""
    return "\n\n".join(_texts(incident)) + "\n"


def _texts(incident: Incident) -> Iterator[str]:
    for step in incident.steps:
        if not step.webhooks:
            continue
        yield f"##### {step.what}"
        body, *others = step.webhooks
        for what, name in _SHOWN.items():
            lines = render(name, body).strip().splitlines()
            if (rest := len(lines) - _MAX_LINES) > 0:
                lines = [*lines[:_MAX_LINES], f"(The gallery leaves out {rest} more lines.)"]
            text = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)) or "(empty)"
            yield f"{what}: {text}" if len(lines) <= 1 else f"{what}:\n{text}"
        if others:
            yield f"(The gallery leaves out the like for {len(others)} more groups.)"


def render(name: str, body: dict[str, object]) -> str:
    """Return a default template's text for a webhook."""
    expression = {
        "pagerduty.default.instances": '{{ template "pagerduty.default.instances" .Alerts.Firing }}',
        # https://prometheus.io/docs/alerting/latest/configuration/#email_config: the subject has no template of its own.
        "email.default.subject": '{{ template "email.default.subject" . }}',
    }.get(name, f'{{{{ template "{name}" . }}}}')
    with tempfile.NamedTemporaryFile("w", suffix=".json") as data:
        json.dump(body, data)
        data.flush()
        command = [
            "amtool", "template", "render", f"--template.glob={TEMPLATES.parent}/*.tmpl",
            f"--template.text={expression}", f"--template.data={data.name}",
        ]  # fmt: skip
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
