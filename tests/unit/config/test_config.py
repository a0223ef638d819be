"""routes.yaml as a whole: the loaded configuration has what the file says."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels import REGISTRY
from router.channels.email import EmailSettings
from router.config import Config, ConfigError, load, loads
from router.decide import Outside
from router.model import DAY, HOUR, SECOND, Alertmanager, Retention, Role, User
from router.model.durations import parse_duration

ROOT = Path(__file__).parents[3]
NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
SECRETS = {
    "WEBHOOK_TOKEN": "secret-webhook-token",
    "SLACK_BOT_TOKEN": "secret-slack-token",
    "PAGERDUTY_ROUTING_KEY": "secret-routing-key-of-32-letters",
}
DESIGN = """
timezone: Europe/Berlin            # default of every schedule below
severity:
  label: severity
  levels: [critical, warning, info]
  default: warning

sources:
  - name: prod
    bearer_token: ${WEBHOOK_TOKEN}

channels:
  slack:     {token: ${SLACK_BOT_TOKEN}}
  pagerduty: {}
  email:     {smarthost: smtp.example.com:587, from: alerts@example.com, username: u, password: {file: smtp-password}, tls: starttls}

receivers:
  oncall:
    - pagerduty: {routing_key: ${PAGERDUTY_ROUTING_KEY}}
    - slack: {channel: C0CRITICAL}
    - email: {to: [oncall@example.com]}
  team:
    - slack: {channel: C0WARNINGS}
    - email: {to: [team@example.com]}
  daily:
    - digest: {to: [team@example.com], at: "08:00", weekdays: ["monday:friday"]}

time_intervals:
  - name: office
    time_intervals:
      - {weekdays: ["monday:friday"], times: [{start_time: "09:00", end_time: "18:00"}], location: Europe/Berlin}
    holidays: {country: DE, subdivision: BE, dates: [2026-12-24]}

route:
  receiver: team
  routes:
    - severity: critical
      receiver: oncall
    - severity: warning
      receiver: team
      active_time_intervals: [office]
      outside: hold
    - severity: info
      receiver: daily

inhibit_wait: 5s
inhibit_rules:
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity=~"warning|info"']
    equal: [alertname, cluster]
"""


def read(text: str, folder: Path = ROOT, **environ: str) -> Config:
    return loads(text, name="routes.yaml", folder=folder, environ={**SECRETS, **environ}, now=NOW)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "smtp-password").write_text("secret-smtp-password\n")
    return read(DESIGN, tmp_path)


def test_the_policy_of_the_design_loads(config: Config) -> None:
    policy = config.policy
    assert [route.receiver for route in policy.root.routes] == ["oncall", "team", "daily"]
    assert [each.channel for each in policy.receivers["oncall"]] == ["pagerduty", "slack", "email"]
    assert policy.inhibit_wait == 5 * SECOND
    assert policy.schedules["digest:daily"].minute == 8 * 60
    assert policy.root.routes[1].outside is Outside.HOLD


def test_a_secret_from_environment_or_file_has_no_newline(config: Config) -> None:
    assert config.sources[0].bearer_token == "secret-webhook-token"
    email = config.settings["email"]
    assert isinstance(email, EmailSettings)
    assert email.password is not None
    assert email.password.get_secret_value() == "secret-smtp-password"


def test_no_secret_shows_in_what_is_printed_of_a_config(config: Config) -> None:
    assert "secret-" not in repr(config)
    assert all("secret" not in key for key in config.policy.destinations)


def test_the_shipped_policy_needs_no_credentials_in_a_preview() -> None:
    config = load(ROOT / "routes.yaml", environ={}, now=NOW, preview=True)
    assert set(config.settings) == {spec.section for spec in REGISTRY.values()}


def test_the_office_is_closed_on_a_holiday(config: Config) -> None:
    hours = config.policy.root.routes[1].hours
    assert hours is not None
    christmas_eve = 1_798_102_800_000  # Thu 24 Dec 2026 10:00 in Berlin
    assert not hours.is_open(christmas_eve)
    assert hours.is_open(christmas_eve - 24 * HOUR)
    monday = 1_798_444_800_000  # Mon 28 Dec 2026 09:00 in Berlin
    assert hours.next_opening(christmas_eve) == monday


def test_the_fingerprint_depends_on_the_rules_and_not_on_secrets(config: Config, tmp_path: Path) -> None:
    same = read(DESIGN, tmp_path, WEBHOOK_TOKEN="another")
    other = read(DESIGN.replace("outside: hold", "outside: drop"), tmp_path)
    assert same.policy.fingerprint == config.policy.fingerprint != other.policy.fingerprint


def test_the_fingerprint_depends_on_a_label_named_like_a_secret() -> None:
    one, other = (
        route(f"  {{receiver: team, routes: [{{match: {{url: {url}}}}}]}}", whole=True) for url in "ab"
    )
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("value", ["true", "1.10", "0x10", "1e3", "1_000", "012", "yes", "2026-01-01"])
def test_labels_match_the_text_as_written_not_as_yaml_types_it(value: str) -> None:
    """As in Alertmanager, which reads text there."""
    (child,) = route(f"  {{receiver: team, routes: [{{match: {{a: {value}}}}}]}}").routes
    assert [str(matcher) for matcher in child.matchers] == [f'a="{value}"']


@pytest.mark.parametrize(
    ("given", "position"),
    [
        ("timezone: Local", "timezone is not a zone with a name"),
        ("include: 'teams/**x'", "include is not a pattern"),
        ("include: '.'", "include is not a pattern"),
        ('channels: {slack: {token: {file: "a\\0b"}}}', "can't be read: not text"),
    ],
)
def test_values_that_python_refuses_are_mistakes_of_the_file(given: str, position: str) -> None:
    assert position in trouble(f"{given}\nreceivers: {{r: []}}\nroute: {{receiver: r}}\n")


BASE = """
channels: {slack: {token: t}, pagerduty: {}, email: {smarthost: "localhost:25", from: a@example.com, tls: none}}
receivers:
  team: [{slack: {channel: C1}}]
  daily: [{digest: {to: [a@example.com], at: "08:00"}}]
"""


def route(text: str, *, whole: bool = False) -> Any:
    policy = read(
        BASE + "time_intervals: [{name: never, time_intervals: [{years: ['1999']}]}]\nroute:\n" + text
    ).policy
    return policy if whole else policy.root


def test_routes_of_an_alertmanager_can_be_pasted() -> None:
    root = route("""
  receiver: team
  group_by: ['...']
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    - match: {owner: team-A}
      match_re: {service: "^(foo|bar)$"}
      matchers: [a = b, 'c =~ "d.*"']
      continue: true
      routes:
        - receiver: daily
""")
    child = root.routes[0]
    assert child.receiver == "team"
    assert child.continue_
    assert [str(matcher) for matcher in child.matchers] == [
        'owner="team-A"', 'service=~"^(?:^(foo|bar)$)$"', 'a="b"', 'c=~"d.*"',
    ]  # fmt: skip
    assert child.routes[0].receiver == "daily"


@pytest.mark.parametrize(
    ("given_", "outside", "digest"),
    [
        ("drop", Outside.DROP, None),
        ("send", Outside.SEND, None),
        ("{digest: daily}", Outside.DIGEST, "daily"),
        ('"digest: daily"', Outside.DIGEST, "daily"),
    ],
)
def test_outside_says_what_a_route_does_when_it_is_closed(
    given_: str, outside: Outside, digest: str | None
) -> None:
    child = route(
        f"  receiver: team\n  routes: [{{active_time_intervals: [never], outside: {given_}}}]\n"
    ).routes[0]
    assert (child.outside, child.outside_digest) == (outside, digest)


def test_a_repeat_policy_is_inherited_until_a_route_has_its_own() -> None:
    root = route("""
  receiver: team
  repeat: 4h
  routes:
    - {repeat: pass, routes: [{receiver: team}]}
    - {repeat: never}
    - {receiver: daily}
""")
    assert root.repeat == 4 * HOUR
    assert [child.repeat for child in root.routes] == [0, "never", 4 * HOUR]
    assert root.routes[0].routes[0].repeat == 0
    assert route("  receiver: team\n").repeat is None


@pytest.mark.parametrize(
    ("text", "stale_after"),
    [
        ("", 12 * HOUR),
        ("  routes: [{repeat_interval: 1d}]\n", 72 * HOUR),
        ("stale_after: 5h\n", 5 * HOUR),
        ("stale_after: 0\n", 0),
    ],
)
def test_an_alert_is_stale_after_three_repeats_by_default(text: str, stale_after: int) -> None:
    assert route(f"  receiver: team\n{text}", whole=True).stale_after == stale_after


def test_credentials_for_an_alertmanager_are_not_shown() -> None:
    text = """route: {receiver: team}
sources:
  - {name: quiet}
  - name: prod
    alertmanager_url: https://alertmanager.example/prefix/
    alertmanager_auth: {basic_auth: {username: am, password: secret-password}}
    ask_every: 30s
    gone_after: 2m
"""
    config = read(BASE + text)
    quiet, prod = config.sources
    assert config.policy.sources == ("quiet", "prod")
    assert quiet.alertmanager is None
    assert prod.password is None
    assert prod.alertmanager == Alertmanager(
        ("https://alertmanager.example/prefix",), 30 * SECOND, 120 * SECOND, None, "am", "secret-password"
    )
    assert "secret-password" not in repr(prod)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("90s", 90 * SECOND), ("1m30s", 90 * SECOND), ("2h", 2 * HOUR), ("0", 0), ("250ms", 250)],
)
def test_durations_are_prometheus_own(text: str, wanted: int) -> None:
    assert read(BASE + f"inhibit_wait: {text}\nroute: {{receiver: team}}\n").policy.inhibit_wait == wanted


def test_a_variable_can_have_a_default_and_be_part_of_a_word() -> None:
    text = BASE.replace("C1", "${PREFIX:-C}${NUMBER}") + "route: {receiver: team}\n"
    assert read(text, NUMBER="42").policy.receivers["team"][0].key == "slack:C42"
    assert read(text, NUMBER="42\n").policy.receivers["team"][0].key == "slack:C42"


def test_anchors_are_shared_and_merged_keys_can_be_overridden() -> None:
    root = route("""
  receiver: team
  routes:
    - &shared {receiver: daily, continue: true}
    - {<<: *shared, receiver: team}
""")
    assert [(each.receiver, each.continue_) for each in root.routes] == [("daily", True), ("team", True)]


def test_times_stay_as_written() -> None:
    text = (
        BASE
        + "time_intervals: [{name: late, time_intervals: [{times: [{start_time: 22:30, end_time: 24:00}]}]}]\n"
    )
    config = read(text + "route: {receiver: team, routes: [{active_time_intervals: [late]}]}\n")
    hours = config.policy.root.routes[0].hours
    assert hours is not None
    assert hours.active[0].intervals[0].times == ((22 * 60 + 30, 24 * 60),)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nothing.yaml:1:1: can't be read: No such file or directory; give"
    ):
        load(tmp_path / "nothing.yaml", environ={}, now=NOW)


def trouble(text: str) -> str:
    """Return the errors about a file; an empty text if it loads."""
    try:
        read(text)
    except ConfigError as error:
        return str(error) or "an error without words"
    return ""


@given(st.text(max_size=200))
def test_any_text_is_refused_with_a_position(text: str) -> None:
    assert trouble(text).startswith("routes.yaml:")


@given(st.sampled_from(DESIGN.splitlines()), st.text(max_size=20), st.integers(0, 40))
def test_a_broken_line_never_shows_a_secret(line: str, noise: str, at: int) -> None:
    words = trouble(DESIGN.replace(line, line[:at] + noise + line[at:], 1))
    assert not any(secret in words for secret in SECRETS.values())


def test_aliases_of_aliases_are_refused_before_they_are_written_out() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 12)
    )
    with pytest.raises(ConfigError, match="aliases make it too large"):
        read(bomb)


@pytest.mark.parametrize(
    "text",
    [
        "? token\n: hidden-word\nx: [",
        "token: >\n  first\n  hidden-word\nx: [",
        "x: [\n- token:\n    hidden-word }",
    ],
)
def test_broken_yaml_shows_no_secret_that_continues_in_another_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "hidden-word" not in "\n".join(caught.value.texts.values())


def test_a_duration_of_more_than_a_hundred_years_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("99999999999999y")


def test_retention_has_defaults_and_can_be_set() -> None:
    route = BASE + "route: {receiver: team}\n"
    assert read(route).retention == Retention(30 * DAY, 7 * DAY)
    given = read(route + "retention: {history: 8d, webhooks: 12h}\n").retention
    assert given == Retention(8 * DAY, 12 * HOUR)
    given = read(route + "retention: {quarantine_rows: 5, quarantine_bytes: 64MiB}\n").retention
    assert (given.quarantine_rows, given.quarantine_bytes) == (5, 2**26)
    assert read(route + "retention: {quarantine_bytes: 2097152}\n").retention.quarantine_bytes == 2**21


USERS = """
users:
  - {name: ada, role: admin, password_hash: "${HASH}", tokens: [{file: token-hash}]}
  - {name: vera, role: view, tokens: ["sha256:ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789"]}
web:
  allowed_hosts: [Alerts.Example.COM., "*.bücher.example"]
  trusted_proxy: {addresses: [10.0.0.7, "2001:db8::/32", "::ffff:192.0.2.0/120"], default_role: view}
"""
HASH = "$2b$12$m4ru.tKrC3TYNLeQP4OoYOmovC.vhv1ackWGV5sRGhZYgWgnTfWA6"


def test_users_and_the_proxy_are_read(tmp_path: Path) -> None:
    (tmp_path / "token-hash").write_text(f"sha256:{'0' * 64}\n")
    config = read(f"{DESIGN}{USERS}".replace("{file: smtp-password}", "x"), tmp_path, HASH=HASH)
    ada, vera = config.access.users
    assert ada == User("ada", Role.ADMIN, HASH, ("0" * 64,))
    assert vera.token_hashes == ("abcdef0123456789" * 4,)
    assert config.access.allowed_hosts == ("alerts.example.com", "*.xn--bcher-kva.example")
    proxy = config.access.proxy
    assert proxy is not None
    assert [str(each) for each in proxy.addresses] == ["10.0.0.7/32", "2001:db8::/32", "192.0.2.0/24"]
    assert (proxy.user_header, proxy.default_role) == ("X-Forwarded-User", Role.VIEW)
    assert config.access.needs_credentials
    assert HASH not in repr(config)


def test_users_are_no_rules_that_alerts_are_judged_by() -> None:
    """A new user must not cause all firing alerts to be judged again."""
    text = DESIGN.replace("{file: smtp-password}", "x")
    one, other = (
        read(text),
        read(text + "users: [{name: a, role: view, password_hash: $H}]".replace("$H", HASH)),
    )
    assert one.policy.fingerprint == other.policy.fingerprint
    assert one.digest != other.digest
    assert not one.access.needs_credentials


def test_a_preview_leaves_out_users_whose_credentials_are_missing() -> None:
    text = (
        f"{BASE}route: {{receiver: team}}\nusers: [{{name: a, role: view, password_hash: '${{NO_HASH}}'}}]\n"
    )
    found = loads(text, name="routes.yaml", folder=ROOT, environ={}, now=NOW, preview=True)
    assert found.access.users == ()
