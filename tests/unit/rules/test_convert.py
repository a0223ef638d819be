"""An alertmanager.yml becomes a routes.yaml that loads, sends to the same receivers, and has no secret."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from router.channels.email import EmailSettings
from router.config import Config, ConfigError, Trap, loads
from router.decide.policy import Outside, with_level
from router.model import Labels
from router.rules.convert import Converted, convert_text
from tests.examples import examples

GOLDEN = Path(__file__).parent / "convert"
CASES = Path(__file__).parents[4] / "shared" / "semantics" / "route_cases.json"
AMTOOL = shutil.which("amtool")
NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC


def loaded(converted: Converted) -> Config:
    return loads(
        converted.text, name="routes.yaml", folder=Path("/nowhere"), environ={}, now=NOW, preview=True
    )


def routed(converted: Converted, labels: Labels) -> list[str]:
    root = loaded(converted).policy.root
    return [route.receiver for route in root.matching(with_level(labels, "warning"))]


def convert_sections(**sections: Any) -> Converted:
    """Convert an alertmanager.yml of these sections and a route (JSON is YAML)."""
    return convert_text(json.dumps({"route": {"receiver": "team"}, **sections}), now=NOW)


def notes(converted: Converted) -> str:
    return "\n".join(map(str, converted.notes))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yml")), ids=lambda path: path.stem)
def test_a_whole_file_gives_exactly_this_text_and_these_notes(path: Path) -> None:
    converted = convert_text(path.read_text(), now=NOW)
    found = {".yaml": converted.text, ".txt": f"{notes(converted)}\n"}
    for suffix, text in found.items():
        golden = path.with_suffix(suffix)
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_text(text)
        assert text == golden.read_text()
        assert "secret" not in text.casefold()
    assert loaded(converted).policy.root.receiver in {"team", "nobody"}


def alertmanagers_cases() -> list[Any]:
    return json.loads(CASES.read_text())["alertmanager_yml_routing"] if CASES.is_file() else []


@pytest.mark.skipif(not CASES.is_file(), reason="Alertmanager's case tables are not beside this checkout")
@pytest.mark.parametrize("case", alertmanagers_cases())
def test_alertmanagers_own_files_route_the_same(case: Any) -> None:
    assert routed(convert_text(case["alertmanager_yml"]), case["labels"]) == case["receivers"]


LOGIN = {"smtp_auth_username": "a", "smtp_auth_password": "Geheim"}
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(
    ["", "x", "xy", "7", "007", "yes", "null", "1e3", "${X}", "it's", 'say "x"', "\\d", "ü"]
)
PATTERNS = st.sampled_from(
    ["x|7", "x.*", ".*", ".+", "", "[x7]+", "(?i)X", "^x$", "0*7", "yes|null", r"\d+", "ü|s"]
)
RECEIVERS = [f"team {number}" for number in range(6)]


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def matchers() -> st.SearchStrategy[str]:
    equal = st.builds(lambda n, op, v: f"{n}{op}{quoted(v)}", NAMES, st.sampled_from(["=", "!="]), VALUES)
    regex = st.builds(
        lambda n, op, v: f"{n} {op} {quoted(v)}", NAMES, st.sampled_from(["=~", "!~"]), PATTERNS
    )
    return equal | regex


def routes(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "receiver": st.sampled_from(RECEIVERS),
            "continue": st.booleans(),
            "match": st.dictionaries(NAMES, VALUES, max_size=2),
            "match_re": st.dictionaries(NAMES, PATTERNS, max_size=2),
            "matchers": st.lists(matchers(), max_size=2),
            "group_by": st.just(["a"]) | st.just(["..."]),
            "routes": children,
        },
    )


TREES: st.SearchStrategy[list[Any]] = st.recursive(
    st.just([]), lambda inner: st.lists(routes(inner), min_size=1, max_size=3), max_leaves=8
)
LABELS = st.dictionaries(NAMES, VALUES.filter(bool), max_size=3)


@pytest.mark.skipif(AMTOOL is None, reason="needs amtool: apt-get install prometheus-alertmanager")
@examples(12, HealthCheck.function_scoped_fixture)
@given(tree=TREES, alerts=st.lists(LABELS, min_size=8, max_size=8))
def test_alerts_go_to_the_receivers_that_amtool_names(
    tree: list[Any], alerts: list[dict[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "alertmanager.yml"
    given_ = {
        "route": {"receiver": RECEIVERS[0], "routes": tree},
        "receivers": [{"name": name} for name in RECEIVERS],
    }
    file.write_text(json.dumps(given_))
    converted = convert_text(file.read_text())
    for labels in alerts:
        words = [f"{name}={quoted(value)}" for name, value in labels.items()]
        command = [str(AMTOOL), "config", "routes", "test", f"--config.file={file}", *words]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        assert routed(converted, labels) == said.stdout.strip().split(",")


def test_a_label_is_matched_by_its_text_not_by_a_yaml_number() -> None:
    text = "{route: {receiver: all, routes: [{match: {a: 007, b: yes, c: , d: 1.50}, receiver: one}]}}"
    assert routed(convert_text(text), {"a": "007", "b": "yes", "d": "1.50"}) == ["one"]
    assert routed(convert_text(text), {"a": "7", "b": "yes", "d": "1.50"}) == ["all"]


def test_what_looks_like_a_variable_stays_text() -> None:
    converted = convert_sections(
        route={"receiver": "${A}", "routes": [{"match": {"a": "${B:-c}$"}, "receiver": "b"}]}
    )
    assert routed(converted, {"a": "${B:-c}$"}) == ["b"]
    assert routed(converted, {"a": "c$"}) == ["${A}"]


SECRET = st.text("abcdefgh0123456789/*!&${}:#@' ", min_size=4, max_size=20).map(
    lambda text: f"{text}Geheim{text}"
)


@examples(20)
@given(secrets=st.lists(SECRET, min_size=14, max_size=14, unique=True), name=st.text(max_size=12))
def test_no_secret_is_in_the_text_or_the_notes(secrets: list[str], name: str) -> None:
    secret = iter(secrets)
    converted = convert_sections(
        **{
            "global": {
                "smtp_smarthost": "localhost:25",
                "smtp_from": "a@example.com",
                "smtp_auth_username": "a",
                "smtp_auth_password": next(secret),
                "smtp_auth_secret": next(secret),
                "slack_api_url": f"https://hooks.slack.com/services/{next(secret)}",
                "pagerduty_url": f"https://example.com/?key={next(secret)}",
                "opsgenie_api_key": next(secret),
                "http_config": {
                    "proxy_url": next(secret),
                    "basic_auth": {"username": "a", "password": next(secret)},
                },
            },
            "receivers": [
                {
                    "name": name or "team",
                    "slack_configs": [{"api_url": next(secret)}],
                    "email_configs": [{"to": "a@example.com", "auth_password": next(secret)}],
                    "pagerduty_configs": [{"routing_key": next(secret)}, {"service_key": next(secret)}],
                    "webhook_configs": [
                        {"url": next(secret)},
                        {"url": "http://x", "http_config": {"authorization": {"credentials": next(secret)}}},
                    ],
                    "victorops_configs": [{"api_key": [next(secret)]}],
                }
            ],
        }
    )
    assert "Geheim" not in converted.text
    assert "Geheim" not in notes(converted)


@pytest.mark.parametrize(
    "password", ["*Geheim", "!Geheim x", "!g!Geheim x", '"Geheim', "[Geheim", "@Geheim", "%Geheim"]
)
def test_a_password_that_is_not_yaml_is_not_shown(password: str) -> None:
    text = f"route: {{receiver: a}}\nglobal:\n  smtp_auth_password: {password}\n"
    try:
        shown = notes(convert_text(text))
    except ConfigError as error:
        shown = error.shown
    assert shown
    assert "Geheim" not in shown


def test_equal_secrets_share_a_variable_and_others_have_their_own() -> None:
    converted = convert_sections(
        receivers=[
            {"name": "team/db", "pagerduty_configs": [{"routing_key": key} for key in ("one", "two", "one")]},
            {"name": "web", "pagerduty_configs": [{"routing_key": "two"}]},
        ]
    )
    assert "name: team-db}" in converted.text
    assert (
        'web:\n    - pagerduty: {routing_key: "${TEAM_DB_PAGERDUTY_ROUTING_KEY_2}", name: team-db-2}'
        in converted.text
    )
    assert converted.text.count("routing_key") == 3


def test_a_slack_token_that_alertmanager_has_is_used_again() -> None:
    converted = convert_sections(
        **{
            "global": {
                "slack_api_url": "https://slack.com/api/chat.postMessage",
                "http_config": {"authorization": {"credentials_file": "/run/slack"}},
            }
        },
        receivers=[{"name": "team", "slack_configs": [{"channel": "C012345678", "send_resolved": True}]}],
    )
    assert "slack:\n    token: {file: /run/slack}" in converted.text
    assert converted.notes == ()


def slack_converted(config: Mapping[str, Any], **global_keys: str) -> Converted:
    receivers = [{"name": "team", "slack_configs": [{**config, "send_resolved": True}]}]
    return convert_sections(**{"global": global_keys}, receivers=receivers)


@pytest.mark.parametrize(
    ("config", "global_keys", "webhook"),
    [
        ({}, {"slack_api_url": "https://hooks.slack.com/services/Geheim"}, '"${SLACK_WEBHOOK_URL}"'),
        ({}, {"slack_api_url_file": "/run/hook"}, "{file: /run/hook}"),
        ({"api_url": "https://hooks.slack.com/services/Geheim"}, {}, '"${TEAM_SLACK_WEBHOOK_URL}"'),
        ({"api_url_file": "/run/hook"}, {}, "{file: /run/hook}"),
        ({"api_url_file": "/run/hook"}, {"slack_api_url": "https://hooks.slack.com/services/Geheim"}, "{file: /run/hook}"),
        ({"api_url_file": "/run/hook"}, {"slack_api_url": "https://slack.com/api/chat.postMessage"}, "{file: /run/hook}"),
        ({"api_url": "https://hooks.slack.com/services/Geheim"}, {"slack_app_token": "xoxb-Geheim"}, '"${TEAM_SLACK_WEBHOOK_URL}"'),
    ],
)  # fmt: skip
def test_an_incoming_webhook_of_slack_is_used_again(
    config: Mapping[str, Any], global_keys: dict[str, str], webhook: str
) -> None:
    converted = slack_converted(config, **global_keys)
    assert f"webhook_url: {webhook}" in converted.text
    assert "channels:" not in converted.text
    assert "Geheim" not in converted.text + notes(converted)


def test_the_channel_beside_an_incoming_webhook_is_kept_and_noted() -> None:
    converted = slack_converted({"channel": "#ops", "api_url_file": "/run/hook"})
    assert "channel: '#ops'" in converted.text
    assert "only webhooks of the old kind obey it" in notes(converted)


def test_a_slack_config_without_any_credentials_becomes_a_bot() -> None:
    converted = slack_converted({"channel": "C012345678"})
    assert 'slack: {token: "${SLACK_BOT_TOKEN}"}' in converted.text
    assert "no incoming webhook and no token" in notes(converted)


@pytest.mark.parametrize(
    ("smtp", "tls"),
    [
        ({"smtp_smarthost": "mail:587"}, "starttls"),
        ({"smtp_smarthost": "mail:465", "smtp_require_tls": False}, "implicit"),
        ({"smtp_smarthost": "mail:25", "smtp_require_tls": False}, "none"),
        ({"smtp_smarthost": "mail:2465", "smtp_force_implicit_tls": True}, "implicit"),
        ({"smtp_smarthost": "mail:465", "smtp_force_implicit_tls": False}, "starttls"),
        ({"smtp_smarthost": "mail:25", "smtp_require_tls": False, **LOGIN}, "starttls"),
    ],
)
def test_imported_mail_is_as_safe_and_no_password_is_sent_in_clear(smtp: dict[str, Any], tls: str) -> None:
    receivers = [{"name": "team", "email_configs": [{"to": "team@example.com"}]}]
    converted = convert_sections(**{"global": {"smtp_from": "a@example.com", **smtp}}, receivers=receivers)
    settings = loaded(converted).settings["email"]
    assert isinstance(settings, EmailSettings)
    assert settings.security == tls


def test_a_route_whose_hours_never_open_again_drops_alerts() -> None:
    converted = convert_sections(
        route={"receiver": "team", "routes": [{"active_time_intervals": ["once"]}]},
        time_intervals=[{"name": "once", "time_intervals": [{"years": ["2020"]}]}],
    )
    assert loaded(converted).policy.root.routes[0].outside is Outside.DROP


NIGHT = {"times": [{"start_time": "00:00", "end_time": "08:00"}]}


@pytest.mark.parametrize(
    ("entries", "mutes"),
    [
        ([{**NIGHT, "location": ""}], False),
        ([{"location": ""}], True),
        ([{"times": []}], False),
        ([{"weekdays": [], "times": [{"start_time": "11:00", "end_time": "13:00"}]}], False),
        ([{"days_of_month": []}], False),
        ([{"times": None, "months": None}], True),
        ([NIGHT, {}], True),
        ([NIGHT, None], True),
        ([], False),
        (None, False),
        ([{"months": ["0"]}], False),
        ([{"months": ["13"]}], False),
        ([{"months": ["11:14"]}], True),
        ([{"months": ["+11"], "years": ["+2026"]}], True),
        ([{"weekdays": [None, "saturday"]}], True),
        ([{"weekdays": [None]}], False),
        ([{"months": [None]}, {"years": [None]}, {"days_of_month": [None]}, {"times": [None]}], False),
    ],
    ids=str,
)
def test_an_imported_interval_has_alertmanagers_meaning(entries: Any, mutes: bool) -> None:
    """amtool accepts all of these. A missing value is Go's zero value: for a weekday that is sunday."""
    converted = convert_sections(
        route={"receiver": "team", "routes": [{"matchers": ["a=b"], "mute_time_intervals": ["x"]}]},
        time_intervals=[{"name": "x", "time_intervals": entries}],
    )
    (route,) = loaded(converted).policy.root.routes
    assert route.hours is not None
    assert route.hours.is_open(NOW) is not mutes
    assert "LEFT OUT" not in converted.text + notes(converted)


def test_an_interval_that_is_left_out_is_noted_and_in_the_header() -> None:
    converted = convert_sections(
        route={"receiver": "team", "routes": [{"matchers": ["a=b"], "mute_time_intervals": ["x"]}]},
        time_intervals=[{"name": "x", "time_intervals": [NIGHT, {"weekdays": ["friday", "frday"]}]}],
    )
    assert (
        "# The time interval 'x' is LEFT OUT: routes that name it are open at any hour.\n" in converted.text
    )
    said = notes(converted)
    assert "the whole time interval 'x' is LEFT OUT" in said
    assert "the time interval 'x' is left out, so this route ignores it" in said
    assert loaded(converted).policy.root.routes[0].hours is None


def test_two_receivers_of_one_name_are_noted() -> None:
    hooks = [{"name": "team", "webhook_configs": [{"url": f"http://127.0.0.1:9/{n}"}]} for n in range(2)]
    converted = convert_sections(receivers=hooks)
    assert (
        "two receivers are named 'team'; they are merged, and the result notifies all their destinations"
        in notes(converted)
    )
    assert len(loaded(converted).policy.receivers["team"]) == 2


def test_check_warns_of_a_receiver_without_destinations() -> None:
    converted = convert_sections(receivers=[{"name": "team", "opsgenie_configs": [{"api_key": "x"}]}])
    config = loads(converted.text, name="routes.yaml", folder=Path(), environ={}, now=NOW, checking=True)
    assert [each.trap for each in config.problems] == [Trap.NOBODY]


def test_every_value_is_used_as_written() -> None:
    """Also tags, directives, and YAML 1.1's words for true and false: Alertmanager reads them as text where it expects text."""
    text = (
        "%YAML 1.1\n---\nroute: {receiver: !!str 007, routes: [{match: {a: True, b: 1_0, c: 0x1F}, continue: yes}]}\n"
        "receivers: [{name: 007, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}]\n"
    )
    root = loaded(convert_text(text, now=NOW)).policy.root
    assert root.receiver == "007"
    assert [str(each) for each in root.routes[0].matchers] == ['a="True"', 'b="1_0"', 'c="0x1F"']
    assert root.routes[0].continue_


def test_hours_without_a_location_are_of_utc() -> None:
    night = {"times": [{"start_time": "00:00", "end_time": "06:00"}]}
    converted = convert_sections(mute_time_intervals=[{"name": "night", "time_intervals": [night]}])
    assert [str(each.zone) for each in loaded(converted).policy.intervals["night"].intervals] == ["UTC"]


def test_a_side_without_matchers_is_every_alert() -> None:
    rules = [{"source_match": {"alertname": "Maintenance"}, "equal": ["cluster"]}]
    inhibition = loaded(convert_sections(inhibit_rules=rules)).policy.inhibition
    (source,) = inhibition.as_source({"alertname": "Maintenance", "cluster": "a"})
    (target,) = inhibition.as_target({"cluster": "a"})
    assert source.text == target.text


def test_the_header_names_exactly_the_variables_to_set() -> None:
    converted = convert_text((GOLDEN / "odd.yml").read_text(), now=NOW)
    named = re.findall(r"^#   (\w+)$", converted.text, re.MULTILINE)
    assert set(named) == set(re.findall(r"\$\{(\w+)", converted.text))
    assert len(named) == len(set(named))


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["team", "office", "a=b"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=3) | st.just("name"), inner, max_size=2)
    ),
    max_leaves=4,
)


def odd(*keys: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A mapping with some of these keys. Each has a value of the right type, or any other value."""
    return ODD | st.fixed_dictionaries(
        {}, optional={**dict.fromkeys(keys, ODD), **{key: ODD | value for key, value in known.items()}}
    )


HTTP = odd(
    "proxy_url",
    "bearer_token",
    authorization=odd("type", "credentials"),
    basic_auth=odd("username", "password"),
)
ROUTE = odd(
    "receiver", "continue", "matchers", "match", "match_re", "group_by", "group_wait", "mute_time_intervals",
    "active_time_intervals", "labels", "colour",
)  # fmt: skip
RECEIVER = odd(
    "name", "jira_configs", "colour",
    slack_configs=st.lists(odd("channel", "api_url", "send_resolved", "title", http_config=HTTP), max_size=2),
    pagerduty_configs=st.lists(odd("routing_key", "service_key", "url", "routing_key_file"), max_size=2),
    webhook_configs=st.lists(
        odd("url", "url_file", http_config=HTTP) | st.fixed_dictionaries({"url": st.just("http://a"), "http_config": HTTP}),
        max_size=2,
    ),
    email_configs=st.lists(odd("to", "from", "smarthost", "require_tls", "auth_username"), max_size=2),
)  # fmt: skip
INTERVALS = st.lists(
    odd("name", time_intervals=st.lists(odd("times", "weekdays", "years"), max_size=2)), max_size=2
)


@examples(50)
@given(
    odd(
        "templates",
        route=ROUTE.flatmap(lambda r: st.just({**r, "routes": [{}, r]} if isinstance(r, dict) else r)),
        receivers=st.lists(RECEIVER, max_size=2),
        time_intervals=INTERVALS,
        mute_time_intervals=INTERVALS,
        inhibit_rules=st.lists(odd("source_match", "target_matchers", "equal", "name"), max_size=2),
        **{
            "global": odd(
                "smtp_from", "smtp_smarthost", "slack_api_url", "smtp_require_tls", http_config=HTTP
            )
        },
    ).filter(lambda data: isinstance(data, dict))
)
def test_any_file_is_converted_to_rules_that_load(data: dict[str, Any]) -> None:
    loaded(convert_text(json.dumps(data), now=NOW))


@pytest.mark.parametrize("text", ["", "- a", "word", "a: [", "a: &x [*x]", "[" * 1_000])
def test_a_file_that_is_not_an_alertmanager_yml_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^am\.yml:\d+:\d+: .*; give an alertmanager\.yml"):
        convert_text(text, "am.yml")
