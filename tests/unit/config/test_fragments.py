"""Included files: a team's own routes, receivers and intervals below its mount point."""

import hashlib
from pathlib import Path

import pytest

from router.config import Config, ConfigError, load
from router.decide.policy import with_level

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
MAIN = """
include: teams/*.yaml
channels: {slack: {token: t}, email: {smarthost: "h:25", from: a@example.com, tls: none}}
receivers:
  all: [{slack: {channel: C0ALL}}]
time_intervals:
  - {name: office, time_intervals: [{weekdays: ["monday:friday"]}]}
route:
  receiver: all
  group_by: [alertname]
  routes:
    - {matchers: ['team="payments"'], group_wait: 1m, mount: payments}
    - {matchers: ['team="search"'], mount: search}
"""
PAYMENTS = """
receivers:
  oncall: [{slack: {channel: C0PAYMENTS}}]
  daily: [{digest: {to: [payments@example.com], at: "08:00", covers: [oncall, all]}}]
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: "20:00", end_time: "24:00"}]}]}
route:
  receiver: oncall
  routes:
    - {matchers: ['env="test"'], receiver: daily}
    - {matchers: ['env="dev"'], receiver: all, active_time_intervals: [office], mute_time_intervals: [nights]}
"""
SEARCH = "receivers: {oncall: [{slack: {channel: C0SEARCH}}]}\nroute: {receiver: oncall}\n"


def read(folder: Path, *, checking: bool = False, main: str = MAIN, **teams: str) -> Config:
    (folder / "routes.yaml").write_text(main)
    (folder / "teams").mkdir(exist_ok=True)
    for name, text in teams.items():
        (folder / "teams" / f"{name}.yaml").write_text(text)
    return load(folder / "routes.yaml", environ={}, now=NOW, checking=checking)


def problems(config: Config, folder: Path) -> list[str]:
    found = [str(problem) for fragment in config.fragments for problem in fragment.problems]
    return [problem.replace(f"{folder}/", "") for problem in found]


def receivers(config: Config, **labels: str) -> list[str]:
    return [route.receiver for route in config.policy.root.matching(with_level(labels, "warning"))]


def test_a_team_routes_what_its_mount_point_takes_with_names_of_its_own(tmp_path: Path) -> None:
    config = read(tmp_path, payments=PAYMENTS, search=SEARCH)
    assert [fragment.state for fragment in config.fragments] == ["loaded", "loaded"]
    assert receivers(config, team="payments") == ["payments/oncall"]
    assert receivers(config, team="payments", env="test") == ["payments/daily"]
    assert receivers(config, team="search", env="test") == ["search/oncall"]
    assert receivers(config, team="other") == ["all"]
    assert {"slack:C0PAYMENTS", "digest:payments/daily"} <= config.policy.destinations.keys()
    assert list(config.policy.intervals) == ["office", "payments/nights"]
    covers = config.policy.destinations["digest:payments/daily"].options.covers
    assert covers == ("payments/oncall", "all")


def test_a_fragment_uses_names_of_the_main_file_and_inherits(tmp_path: Path) -> None:
    config = read(tmp_path, payments=PAYMENTS, search=SEARCH)
    (route,) = config.policy.root.matching(with_level({"team": "payments", "env": "dev"}, "warning"))
    assert route.path == "payments: route.routes[1]"
    assert route.receiver == "all"
    assert route.hours is not None
    assert [each.name for each in (*route.hours.active, *route.hours.mute)] == ["office", "payments/nights"]
    assert (route.grouping.by, route.grouping.wait) == (("alertname",), 60_000)


def test_a_route_without_a_receiver_has_that_of_its_mount_point(tmp_path: Path) -> None:
    config = read(tmp_path, payments="route: {routes: [{matchers: ['a=\"b\"']}]}", search=SEARCH)
    assert receivers(config, team="payments", a="b") == ["all"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("route: [", "teams/payments.yaml:1:8: this [ is never closed; close it"),
        ("receivers: {}", "teams/payments.yaml:1:1: 'route' is missing; add it"),
        ("channels: {slack: {token: t}}\nroute: {}",
         "teams/payments.yaml:1:1: unknown key 'channels'; the keys here are: receivers, route, time_intervals"),
        ("route: {receiver: al}", "teams/payments.yaml:1:19: there is no receiver 'al'; did you mean 'all'?"),
        ("route: {matchers: ['a=b']}",
         "teams/payments.yaml:1:8: the route of a fragment has matchers; its mount point has them; move these to a route below"),
        ("route: {mount: search}",
         "teams/payments.yaml:1:16: an included file can't mount another; mount it in the main file"),
    ],
)  # fmt: skip
def test_a_broken_file_is_left_out_and_the_others_load(tmp_path: Path, text: str, problem: str) -> None:
    config = read(tmp_path, payments=text, search=SEARCH)
    assert problems(config, tmp_path) == [problem]
    assert receivers(config, team="payments") == ["all"]
    assert receivers(config, team="search") == ["search/oncall"]
    assert [each for each in read(tmp_path, checking=True).problems if not each.is_warning]


def test_a_file_without_a_mount_and_a_mount_without_a_file_are_errors(tmp_path: Path) -> None:
    config = read(tmp_path, search=SEARCH, payment=PAYMENTS)
    assert problems(config, tmp_path) == [
        (
            "teams/payment.yaml:1:1: no route mounts this file; write `mount: payment` in the route of the main file "
            "that it belongs to"
        ),
        "routes.yaml:12:62: there is no included file 'payments'; did you mean 'payment'?",
    ]


def test_a_file_cannot_be_mounted_twice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":13:44: 'payments' is mounted twice; keep one of the two"):
        read(tmp_path, main=MAIN.replace("mount: search", "mount: payments"), payments=PAYMENTS)


def test_two_included_files_of_one_name_are_not_confused(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "search.yaml").write_text(SEARCH)
    main = MAIN.replace("include: teams/*.yaml", "include: [teams/*.yaml, more/*.yaml]")
    config = read(tmp_path, main=main, payments=PAYMENTS, search=SEARCH)
    assert "there are two fragments 'search'" in problems(config, tmp_path)[0]


@pytest.mark.parametrize("pattern", ["/etc/*.yaml", "../*.yaml", ""])
def test_only_files_below_the_main_one_are_included(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r":2:10: include:? "):
        read(tmp_path, main=MAIN.replace("teams/*.yaml", f'"{pattern}"'))


def test_different_options_are_a_mistake_of_the_second_file(tmp_path: Path) -> None:
    main = MAIN.replace("channels: {", "channels: {pagerduty: {}, ").replace(
        "receivers:", f"receivers:\n  page: [{{pagerduty: {{routing_key: {'k' * 32}, name: page}}}}]", 1
    )
    digest = hashlib.sha256(b"k" * 32).hexdigest()[:8]
    other = f"receivers: {{oncall: [{{pagerduty: {{routing_key: {'k' * 32}, name: page, per: alert}}}}]}}\nroute: {{receiver: oncall}}\n"
    config = read(tmp_path, main=main, payments=PAYMENTS, search=other)
    assert problems(config, tmp_path) == [
        (
            f"teams/search.yaml:1:23: pagerduty:page-{digest} has other options in another receiver; "
            "make the options the same, or name the destinations differently"
        )
    ]


SECRETIVE = """
receivers: {oncall: [{webhook: {url: {file: url}, bearer_token: "${TEAM_TOKEN}", name: pay}}]}
route: {receiver: oncall}
"""


@pytest.mark.parametrize("gone", ["the file", "the variable", "the file's content", "the fragment"])
def test_an_included_file_without_its_secret_stays_as_it_was(tmp_path: Path, gone: str) -> None:
    main = MAIN.replace("channels: {", "channels: {webhook: {}, ")
    url = tmp_path / "teams" / "url"
    url.parent.mkdir()
    url.write_text("http://127.0.0.1:9/secret-path\n")
    (tmp_path / "routes.yaml").write_text(main)
    (tmp_path / "teams" / "search.yaml").write_text(SEARCH)
    payments = tmp_path / "teams" / "payments.yaml"
    payments.write_text(SECRETIVE)
    environ = {"TEAM_TOKEN": "secret-token"}
    config = load(tmp_path / "routes.yaml", environ=environ, now=NOW)
    good = config.policy.receivers["payments/oncall"]
    match gone:
        case "the file":
            url.unlink()
        case "the variable":
            environ = {}
        case "the file's content":
            url.write_text("\n")
        case "the fragment":
            payments.unlink()
            environ = {"TEAM_TOKEN": "another"}
    for _ in range(2):  # what was kept once is kept for good
        kept = {each.name: each.loaded.kept for each in config.fragments if each.loaded is not None}
        config = load(tmp_path / "routes.yaml", environ=environ, now=NOW, last_good=kept)
        assert config.policy.receivers["payments/oncall"] == good
        assert "secret-" not in "".join((*problems(config, tmp_path), *config.texts.values(), repr(config)))
    assert [each.state for each in config.fragments if each.name == "payments"] == ["last good version"]


def test_a_last_good_version_kept_by_an_older_router_is_only_text(tmp_path: Path) -> None:
    read(tmp_path, payments="route: [", search=SEARCH)
    config = load(tmp_path / "routes.yaml", environ={}, now=NOW, last_good={"payments": PAYMENTS})
    assert receivers(config, team="payments") == ["payments/oncall"]


def test_a_secret_of_the_main_file_is_masked_in_included_files(tmp_path: Path) -> None:
    main = MAIN.replace("token: t", "token: secret-of-slack")
    text = "route: {receiver: all, routes: [{matchers: [a=secret-of-slack], receiver: secret-of-slack}]}"
    config = read(tmp_path, main=main, payments=text, search=SEARCH)
    words = "".join((*problems(config, tmp_path), *config.texts.values()))
    assert "there is no receiver '***************'" in words
    assert "secret-of-slack" not in words


def test_files_of_tests_beside_them_are_not_included(tmp_path: Path) -> None:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "payments.test.yaml").write_text("tests: []")
    config = read(tmp_path, payments=PAYMENTS, search=SEARCH)
    assert [fragment.name for fragment in config.fragments] == ["payments", "search"]


def test_traps_in_an_included_file_have_positions_in_that_file(tmp_path: Path) -> None:
    main = MAIN.replace(
        'time_intervals:\n  - {name: office, time_intervals: [{weekdays: ["monday:friday"]}]}\n', ""
    )
    unused = SEARCH.replace("oncall: [", "nobody: [], oncall: [")
    config = read(
        tmp_path,
        main=main,
        checking=True,
        search=unused,
        payments="route: {routes: [{}, {matchers: ['a=b']}]}",
    )
    assert [str(each).replace(f"{tmp_path}/", "") for each in config.problems] == [
        (
            "teams/payments.yaml:1:22: warning: no alert can come here: payments: route.routes[0] (line 1) takes all of "
            "them first; move it up, or add `continue: true` to that one"
        ),
        "teams/search.yaml:1:13: warning: no route uses the receiver 'nobody'; route something to it, or remove it",
    ]


def test_a_team_does_not_take_over_a_receiver_of_the_main_file(tmp_path: Path) -> None:
    main = MAIN.replace("receivers:", "receivers:\n  search/oncall: [{slack: {channel: C0MAIN}}]")
    config = read(tmp_path, main=main, payments=PAYMENTS, search=SEARCH)
    assert [each.key for each in config.policy.receivers["search/oncall"]] == ["slack:C0MAIN"]
    assert problems(config, tmp_path) == [
        "teams/search.yaml:1:13: the main file has a receiver 'search/oncall', too; rename one of them"
    ]


def test_a_drill_tests_receivers_of_included_files(tmp_path: Path) -> None:
    drill = 'drill: {at: "09:00", receivers: [all, payments/oncall], report_to: search/oncall}\n'
    config = read(tmp_path, main=MAIN + drill, payments=PAYMENTS, search=SEARCH)
    assert config.drill is not None
    assert config.drill.receivers == ("all", "payments/oncall")
    assert config.drill.report_to == "search/oncall"
    (tmp_path / "teams" / "payments.yaml").write_text("receivers: {")
    broken = load(tmp_path / "routes.yaml", environ={}, now=NOW)
    assert broken.drill is not None
    assert broken.drill.receivers == ("all",), "a mistake of a team prevents no start"
    with pytest.raises(ConfigError, match="there is no receiver 'payments/oncal'"):
        read(tmp_path, main=MAIN + drill.replace("oncall]", "oncal]"), payments=PAYMENTS)
