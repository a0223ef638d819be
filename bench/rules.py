"""The routes.yaml of each measurement."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Rules = Mapping[str, Any]
TEAM = "team-0"


def to_webhook(url: str) -> Rules:
    """Return rules that send everything to one webhook receiver."""
    return _rules({"webhook": {}}, [{"webhook": {"url": f"{url}/receive"}}])


def to_three(port: int) -> Rules:
    """Return rules that send everything to Slack, PagerDuty and email, at one address."""
    url = f"http://127.0.0.1:{port}"
    channels = {
        "slack": {"token": "xoxb-bench", "api_url": f"{url}/api/"},
        "pagerduty": {"events_url": url},
        "email": {"smarthost": f"127.0.0.1:{port}", "from": "alerts@bench.example", "tls": "none"},
    }
    receiver = [
        {"slack": {"channel": "C0BENCH"}},
        {"pagerduty": {"routing_key": "0" * 32}},
        {"email": {"to": ["team@bench.example"]}},
    ]
    return _rules(channels, receiver)


def to_three_webhooks(url: str) -> Rules:
    return _rules({"webhook": {}}, [{"webhook": {"url": f"{url}/receive/{n}"}} for n in range(3)])


def many_routes(port: int, count: int) -> Rules:
    """Return rules with one route per team; the route of ``TEAM`` is the last one."""
    routes = [
        {"receiver": "bench", "matchers": [f'team="team-{number}"', 'alertname=~"Bench.*"']}
        for number in reversed(range(count))
    ]
    rules = to_three(port)
    return {**rules, "route": {**rules["route"], "routes": routes}}


def two_sources(url: str) -> Rules:
    """Return rules that send alerts of one source to Slack and a webhook, and criticals of the other to another webhook."""
    channels = {"slack": {"token": "xoxb-bench", "api_url": f"{url}/api/"}, "webhook": {}}
    rules = _rules(channels, [{"slack": {"channel": "C0BENCH"}}, {"webhook": {"url": f"{url}/group"}}])
    route = {"receiver": "page", "matchers": ['severity="critical"']}
    return {
        **rules,
        "sources": [{"name": "group"}, {"name": "critical"}],
        "receivers": {**rules["receivers"], "page": [{"webhook": {"url": f"{url}/page"}}]},
        "route": {**rules["route"], "routes": [route]},
    }


def waiting(url: str, kind: str) -> Rules:
    """Return rules with one destination. Alerts that are not critical wait five seconds for an inhibitor."""
    if kind == "slack":
        channels: dict[str, Any] = {"slack": {"token": "xoxb-bench", "api_url": f"{url}/api/"}}
        receiver: dict[str, Any] = {"slack": {"channel": "C0BENCH"}}
    else:
        channels, receiver = {"webhook": {}}, {"webhook": {"url": f"{url}/receive"}}
    muting = {"source_matchers": ['alertname="Nothing"'], "target_matchers": ['alertname=~"Bench.*"']}
    return {**_rules(channels, [receiver]), "inhibit_wait": "5s", "inhibit_rules": [muting]}


def _rules(channels: Mapping[str, Any], receiver: list[Any]) -> Rules:
    return {"channels": channels, "receivers": {"bench": receiver}, "route": {"receiver": "bench"}}


def write(path: Path, rules: Rules) -> Path:
    path.write_text(json.dumps(rules))  # JSON is YAML
    return path
