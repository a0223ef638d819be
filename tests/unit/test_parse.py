"""Parsing bytes into a Webhook: every entry that may be an alert becomes one."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.grafana_values import values_of
from router.model import Alert, Millis, Status, Webhook
from router.parse import ParseError, fingerprint, parse_in_pieces, parse_webhook
from tests.world.bodies import BODIES, Body

RECORDED = Path(__file__).parents[3] / "shared" / "alertmanager-payloads"
START = "2026-11-20T23:17:53.535706Z"
START_MS: Millis = 1_795_216_673_535
END = "2026-11-20T23:19:52.034129Z"
END_MS: Millis = 1_795_216_792_034


def body(*alerts: Any, **fields: Any) -> bytes:
    return json.dumps({"alerts": alerts, **fields}).encode()


def one(entry: dict[str, Any], **fields: Any) -> Alert:
    """Return the only alert of a body with this entry."""
    (alert,) = parse_webhook(body(entry, **fields)).alerts
    return alert


def in_pieces(raw: bytes) -> tuple[Webhook, int]:
    """Return the result, and the number of pieces."""
    pieces, count = parse_in_pieces(raw, 2**50, ""), 0
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value, count
        count += 1


def either_way(raw: bytes, parsed: Callable[[bytes], Webhook]) -> Any:
    """Return the webhook, or why the body is none, without the position."""
    try:
        webhook = parsed(raw)
    except ParseError as error:
        return str(error).split(":")[0]
    return replace(webhook, oddities=tuple(sorted(webhook.oddities)))


def recorded() -> list[Any]:
    paths = sorted(path for path in RECORDED.glob("*.json") if not path.name.endswith(".http.json"))
    missing = pytest.mark.skip(reason=f"no recorded bodies in {RECORDED.parent.name}/{RECORDED.name}")
    return [pytest.param(path, id=path.stem) for path in paths] or [pytest.param(RECORDED, marks=missing)]


@pytest.mark.parametrize("path", recorded())
def test_recorded_bodies_of_alertmanager_are_parsed_completely(path: Path) -> None:
    raw = json.loads(path.read_bytes())
    webhook = parse_webhook(path.read_bytes())
    assert webhook.oddities == ()
    assert (webhook.receiver, webhook.group_key) == (raw["receiver"], raw["groupKey"])
    assert webhook.group_labels == raw["groupLabels"]
    assert webhook.external_url == raw["externalURL"]
    assert webhook.truncated == raw["truncatedAlerts"]
    assert [dict(each.labels) for each in webhook.alerts] == [each["labels"] for each in raw["alerts"]]
    assert [dict(each.annotations) for each in webhook.alerts] == [e["annotations"] for e in raw["alerts"]]
    assert [each.status for each in webhook.alerts] == [each["status"] for each in raw["alerts"]]
    assert [each.fingerprint for each in webhook.alerts] == [each["fingerprint"] for each in raw["alerts"]]
    for alert in webhook.alerts:
        assert alert.starts_at is not None
        assert (alert.ends_at is None) == (alert.status is Status.FIRING)


@pytest.mark.parametrize("path", recorded())
def test_the_computed_fingerprint_equals_that_of_prometheus(path: Path) -> None:
    for entry in json.loads(path.read_bytes())["alerts"]:
        given_one = entry.pop("fingerprint")
        assert one(entry).fingerprint == given_one


def test_the_fingerprint_of_known_labels() -> None:
    labels = {"test": "u", "alertname": "Uni", "city": "Zürich 🙂"}
    assert fingerprint(labels) == "378a4a77a52e8b35"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"alerts=1", "not JSON"),
        (b'{"alerts": [', "not JSON"),
        (b"[]", "a list, not an object"),
        (b"null", "null, not an object"),
        (b'"alerts"', "text, not an object"),
        (b"1", "a number, not an object"),
        (b"{}", "no alerts"),
        (b'{"alerts": {}}', "alerts are an object, not a list"),
        (b'{"alerts": "x"}', "alerts are text, not a list"),
        (b'{"alerts": [1, null, "x"]}', "none of its alerts is an object"),
        (b'{"alerts": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"alerts": [], "x": ' + b"9" * 5_000 + b"}", "not JSON"),
        ('{"alerts": []}'.encode("utf-16"), "not JSON"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_webhook_is_refused_with_the_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        parse_webhook(raw)


@pytest.mark.parametrize("field", ["labels", "startsAt", "fingerprint", "imageURL", "other"])
@pytest.mark.parametrize("depth", [10, *range(300, 1_100, 20), 5_000])
def test_deep_nesting_raises_at_most_a_parse_error(field: str, depth: int) -> None:
    """How deep is too deep depends on the interpreter's stack."""
    nested = b"[" * depth + b"]" * depth
    with suppress(ParseError):
        assert len(parse_webhook(b'{"alerts": [{"%b": {"a": %b}}]}' % (field.encode(), nested)).alerts) == 1


@pytest.mark.parametrize("alerts", [None, []])
def test_a_webhook_without_alerts_is_an_empty_group(alerts: Any) -> None:
    webhook = parse_webhook(json.dumps({"alerts": alerts, "receiver": None, "externalURL": None}).encode())
    assert webhook == Webhook("", webhook.group_key, {}, "", 0, ())


def test_entries_that_are_no_objects_are_named_and_others_kept() -> None:
    webhook = parse_webhook(body({"labels": {"a": "1"}}, 7, None, {"labels": {"a": "2"}}, "x", True, []))
    assert [alert.labels["a"] for alert in webhook.alerts] == ["1", "2"]
    assert webhook.oddities == (
        "alerts[1] is a number, not an object",
        "alerts[2] is null, not an object",
        "alerts[4] is text, not an object",
        "alerts[5] is a boolean, not an object",
        "alerts[6] is a list, not an object",
    )


def test_many_unusable_entries_are_summed_up() -> None:
    oddities = parse_webhook(body({}, *[0] * 1_000)).oddities
    assert len(oddities) == 21
    assert oddities[-1] == "and 980 more like these"


def test_label_values_become_text() -> None:
    labels = {"i": 5, "f": 1.5, "yes": True, "no": False, "none": None, "list": [1, {"ä": None}], "s": "x"}
    expected = {"i": "5", "f": "1.5", "yes": "true", "no": "false", "list": '[1,{"ä":null}]', "s": "x"}
    alert = one({"labels": labels, "annotations": labels})
    assert alert.labels == expected
    assert alert.annotations == expected


def test_missing_and_null_labels_are_no_labels() -> None:
    webhook = parse_webhook(body({"labels": None}, {"annotations": None, "generatorURL": None}))
    assert webhook.oddities == ()
    assert all((each.labels, each.annotations, each.generator_url) == ({}, {}, "") for each in webhook.alerts)


def test_labels_that_are_no_object_are_an_oddity() -> None:
    webhook = parse_webhook(body({"labels": ["a"], "annotations": "x"}))
    assert webhook.oddities == (
        "alerts[0].labels are a list, not an object",
        "alerts[0].annotations are text, not an object",
    )
    assert webhook.alerts[0].labels == {}


def test_nul_and_lone_surrogates_are_replaced_everywhere() -> None:
    bad = "a\0b\ud800c\udfffd"
    good = "a\ufffdb\ufffdc\ufffdd"
    entry = {
        "labels": {bad: bad}, "annotations": {"x": [bad]}, "generatorURL": bad, "fingerprint": bad, "imageURL": bad,
    }  # fmt: skip
    webhook = parse_webhook(body(entry, receiver=bad, groupKey=bad, externalURL=bad, groupLabels={bad: bad}))
    (alert,) = webhook.alerts
    assert alert.labels == {good: good}
    assert alert.annotations == {"x": f'["{good}"]'}
    assert (alert.generator_url, alert.fingerprint, alert.links["image"]) == (good, good, good)
    assert (webhook.receiver, webhook.group_key, webhook.external_url) == (good, good, good)
    assert webhook.group_labels == {good: good}


def test_an_escaped_surrogate_pair_is_one_character() -> None:
    assert one(json.loads(r'{"labels": {"a": "\ud83d\ude42"}}')).labels == {"a": "🙂"}


def test_invalid_utf8_is_replaced_and_a_byte_order_mark_ignored() -> None:
    (alert,) = parse_webhook(b'\xef\xbb\xbf{"alerts": [{"labels": {"a": "\xff!"}}]}').alerts
    assert alert.labels == {"a": "\ufffd!"}


def test_an_alert_with_raw_control_characters_is_kept() -> None:
    (alert,) = parse_webhook(b'{"alerts": [{"annotations": {"a": "1\n2\t3\x004"}}]}').alerts
    assert alert.annotations == {"a": "1\n2\t3\ufffd4"}


def test_the_last_of_duplicate_keys_counts() -> None:
    (alert,) = parse_webhook(b'{"alerts": 1, "alerts": [{"labels": {"a": "1", "a": "2"}}]}').alerts
    assert alert.labels == {"a": "2"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("firing", "firing"), ("Alerting", "firing"), ("ACTIVE", "firing"), ("suppressed", "firing"),
        ("no_data", "firing"), (1, "firing"), ({}, "firing"),
        ("resolved", "resolved"), (" Resolved ", "resolved"), ("OK", "resolved"), ("normal", "resolved"),
        ("inactive", "resolved"),
    ],
)  # fmt: skip
def test_every_known_status_is_understood_and_an_unknown_one_fires(status: Any, expected: str) -> None:
    assert one({"status": status, "endsAt": END}, status="resolved").status == expected


@pytest.mark.parametrize(
    ("entry", "group", "expected"),
    [
        ({}, {"status": "resolved"}, "resolved"),
        ({"status": None}, {"status": "ok"}, "resolved"),
        ({"status": "", "endsAt": END}, {"status": "firing"}, "firing"),
        ({"endsAt": END}, {}, "resolved"),
        ({"endsAt": "0001-01-01T00:00:00Z"}, {}, "firing"),
        ({}, {}, "firing"),
    ],
)
def test_an_alert_without_status_has_the_groups_or_follows_its_end(
    entry: dict[str, Any], group: dict[str, Any], expected: str
) -> None:
    assert one(entry, **group).status == expected


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        (START, START_MS),
        ("2026-11-20T23:17:53Z", START_MS - 535),
        ("2026-11-20t23:17:53z", START_MS - 535),
        ("2026-11-20T23:17:53.5Z", START_MS - 35),
        ("2026-11-20T23:17:53.632Z", START_MS + 97),
        ("2026-11-20T23:17:53.535999999Z", START_MS),
        ("2026-11-21T00:17:53.535706+01:00", START_MS),
        ("2026-11-20T13:32:53.535706-09:45", START_MS),
        (START_MS, START_MS),
        (START_MS // 1_000, START_MS - 535),
        (START_MS / 1_000, START_MS),
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-11-20T23:17:53", None),
        ("2026-11-20", None),
        ("yesterday", None),
        ("", None),
        (0, None),
        (-5, None),
        (10**400, None),
        (1e300, None),
        (True, None),
        ([START], None),
        ({}, None),
        (None, None),
    ],
)
def test_times(given_time: Any, expected: Millis | None) -> None:
    assert one({"startsAt": given_time}).starts_at == expected


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_nan_and_infinity_are_neither_times_nor_counts(number: str) -> None:
    webhook = parse_webhook(
        b'{"alerts": [{"startsAt": %s}], "truncatedAlerts": %s}' % ((number.encode(),) * 2)
    )
    assert (webhook.alerts[0].starts_at, webhook.truncated) == (None, 0)


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001  (UTC below)
def test_every_whole_millisecond_is_read_exactly(moment: datetime) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1_000 * 1_000, tzinfo=UTC)
    at = one({"startsAt": moment.isoformat()}).starts_at
    assert at is not None
    assert (at // 1_000, at % 1_000) == (
        int(moment.replace(microsecond=0).timestamp()),
        moment.microsecond // 1_000,
    )


def test_a_firing_alert_has_no_end() -> None:
    assert one({"status": "firing", "endsAt": END}).ends_at is None
    assert one({"status": "resolved", "endsAt": END}).ends_at == END_MS


@pytest.mark.parametrize(
    "missing", [{}, {"fingerprint": ""}, {"fingerprint": "  "}, {"fingerprint": 5}, {"fingerprint": None}]
)
def test_a_missing_fingerprint_is_computed_from_the_labels(missing: dict[str, Any]) -> None:
    labels = {"alertname": "A", "n": 5}
    assert one({"labels": labels, **missing}).fingerprint == fingerprint({"alertname": "A", "n": "5"})


def test_alerts_without_labels_differ_by_content_not_status() -> None:
    first = {"annotations": {"summary": "one"}, "status": "firing", "startsAt": START}
    ended = {**first, "status": "resolved", "endsAt": END}
    other = {**first, "annotations": {"summary": "two"}}
    prints = [each.fingerprint for each in parse_webhook(body(first, other)).alerts]
    assert len(set(prints)) == 2
    assert one(ended).fingerprint == prints[0]


def test_different_labels_are_different_alerts_despite_one_fingerprint() -> None:
    web, db, bare = {"labels": {"a": "web"}}, {"labels": {"a": "db"}}, {"annotations": {"x": "bare"}}
    alerts = parse_webhook(body(*({**each, "fingerprint": "same"} for each in (web, db, bare)))).alerts
    assert [each.fingerprint for each in alerts] == ["same"] * 3
    assert len({each.identity for each in alerts}) == 3


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3), st.text(), st.text())
def test_equal_labels_are_the_same_alert_in_every_body(
    labels: dict[str, str], given_one: str, other: str
) -> None:
    first = one({"labels": labels | {"a": "1"}, "fingerprint": given_one, "status": "firing"})
    end = one(
        {"labels": {"a": "1", "gone": ""} | labels | {"a": "1"}, "fingerprint": other, "status": "resolved"}
    )
    assert first.identity == end.identity
    assert first.identity != one({"labels": labels | {"a": "2"}, "fingerprint": given_one}).identity


def test_the_identity_separates_names_and_values_of_labels() -> None:
    sets = [
        {"ab": "c"},
        {"a": "bc"},
        {"a": "b", "c": "d"},
        {"a": "b\u00ffc\u00ffd"},
        {"a\u00ffb": "c\u00ffd"},
    ]
    assert len({one({"labels": each}).identity for each in sets}) == len(sets)


@pytest.mark.parametrize(
    ("firing_start", "resolved_start", "last"),
    [
        (END, START, "firing"),
        (START, END, "resolved"),
    ],
)
def test_the_last_entry_of_an_alert_counts(
    firing_start: str | None, resolved_start: str | None, last: str
) -> None:
    labels = {"alertname": "A"}
    fires = {"labels": labels, "status": "firing", "startsAt": firing_start}
    ended = {"labels": labels, "status": "resolved", "startsAt": resolved_start}
    for order in ([fires, ended], [ended, fires]):
        statuses = [each.status for each in parse_webhook(body(*order)).alerts]
        assert sorted(statuses) == ["firing", "resolved"]
        assert statuses[-1] == last


@pytest.mark.parametrize(
    ("firing_start", "resolved_start"), [(None, None), (START, START), (None, START), (START, None)]
)
def test_of_two_entries_with_one_start_the_firing_one_counts(
    firing_start: str | None, resolved_start: str | None
) -> None:
    labels = {"alertname": "A"}
    fires = {"labels": labels, "status": "firing", "startsAt": firing_start}
    ended = {"labels": labels, "status": "resolved", "startsAt": resolved_start}
    for order in ([fires, ended], [ended, fires]):
        assert [each.status for each in parse_webhook(body(*order)).alerts] == ["firing"]


def test_a_repeated_entry_does_not_change_the_order_of_others() -> None:
    twice = {"labels": {"a": "2"}, "startsAt": START}
    webhook = parse_webhook(
        body({"labels": {"a": "1"}, "startsAt": END}, twice, {"labels": {"a": "3"}}, twice)
    )
    assert [each.labels["a"] for each in webhook.alerts] == ["1", "2", "2", "3"]


@pytest.mark.parametrize(
    ("key", "expected"), [("{}:{a}", "{}:{a}"), (17_402_318_943_124_598_281, "17402318943124598281")]
)
def test_a_group_key_may_be_a_number(key: Any, expected: str) -> None:
    assert parse_webhook(body(groupKey=key)).group_key == expected


def test_a_missing_group_key_is_derived_from_the_group() -> None:
    def key(**fields: Any) -> str:
        return parse_webhook(body({"labels": {"alertname": "A"}}, **fields)).group_key

    assert key(groupLabels={"a": "1", "b": "2"}) == key(groupLabels={"b": "2", "a": "1"}) != ""
    assert len({key(groupLabels={"a": "1"}), key(groupLabels={"a": "2"}), key()}) == 3
    assert key() == key(groupKey=None) == key(groupKey="")


@pytest.mark.parametrize(
    ("truncated", "expected"),
    [(0, 0), (3, 3), ("3", 3), (None, 0), (-1, 0), ("many", 0), ([], 0), (10**30, 2**31 - 1)],
)
def test_any_count_of_truncated_alerts_is_read(truncated: Any, expected: int) -> None:
    assert parse_webhook(body(truncatedAlerts=truncated)).truncated == expected


def test_grafanas_links_are_kept() -> None:
    entry = {
        "dashboardURL": "https://g.example/d/1", "panelURL": "https://g.example/d/1?viewPanel=2",
        "silenceURL": "https://g.example/alerting/silence/new", "imageURL": "", "values": {"B": 2}, "valueString": "x",
    }  # fmt: skip
    assert one(entry, orgId=1, title="[FIRING:1]", state="alerting", message="m", version="1").links == {
        "dashboard": "https://g.example/d/1",
        "panel": "https://g.example/d/1?viewPanel=2",
        "silence": "https://g.example/alerting/silence/new",
    }


def test_grafanas_values_are_kept_as_text() -> None:
    assert one({"values": {"B": 44.23, "C": 1}, "valueString": "[ var='X' labels={} value=3 ]"}).values == "B=44.23, C=1"  # fmt: skip
    assert one({}).values == ""


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"values": {"A": 1 / 3, "B": 123_456_789.4, "C": 2e-9, "D": 3e20}}, "A=0.333333, B=123456789, C=2e-09, D=3e+20"),
        ({"values": {"A": None, "B": "up", "C": [1], "D": True}}, "A=no value, B=up, C=not a number, D=not a number"),
        ({"values": {"A": 10**400}}, "A=a very large number"),
        ({"values": {f"r{n}": n for n in range(12)}}, f"{', '.join(f'r{n}={n}' for n in range(10))}, and 2 more"),
        ({"values": {"n" * 100: "v" * 100}}, f"{'n' * 59}…={'v' * 59}…"),
        ({"values": {}}, ""),
        ({"values": None, "valueString": "[ var='B' labels={instance=a b, x=y} value=22 ], [ var='C' labels={} value=1.5 type='math' ]"}, "B=22, C=1.5"),
        ({"valueString": "[ metric='cpu usage' labels={} value=95.33333333 ]"}, "cpu usage=95.3333"),
        ({"valueString": "[ var='B' labels={} value=no data ]"}, "B=no"),
        ({"valueString": "something\n else"}, "something else"),
        ({"valueString": "x" * 600}, "x" * 499 + "…"),
        ({"valueString": "[ var='" * 20_000}, ("[ var='" * 72)[:499] + "…"),
        ({"values": [1], "valueString": 5}, ""),
    ],
)  # fmt: skip
def test_grafanas_values_are_readable_and_bounded(entry: dict[str, Any], text: str) -> None:
    assert values_of(entry) == text


@given(st.dictionaries(st.sampled_from(["values", "valueString"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)))  # fmt: skip
def test_any_values_of_grafana_are_a_short_text(entry: dict[str, Any]) -> None:
    assert len(values_of(entry)) < 1_500


def _clean(text: str) -> bool:
    return "\0" not in text and text == text.encode("utf-8", "ignore").decode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    ["status", "labels", "annotations", "startsAt", "endsAt", "fingerprint", "generatorURL", "imageURL"]
)
entries = st.dictionaries(
    fields, json_values | st.sampled_from(["firing", "resolved", START, END, {"a": "1"}])
)
tops = st.sampled_from(
    ["receiver", "status", "groupKey", "groupLabels", "commonLabels", "externalURL", "truncatedAlerts"]
)


@settings(deadline=None)
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_webhook_or_raise_a_parse_error(raw: bytes) -> None:
    with suppress(ParseError):
        assert isinstance(parse_webhook(raw), Webhook)


@settings(deadline=None)
@given(st.lists(entries | json_values, min_size=1), st.dictionaries(tops, json_values))
def test_every_object_becomes_an_alert_whose_texts_can_be_stored(
    listed: list[Any], top: dict[str, Any]
) -> None:
    objects = [each for each in listed if isinstance(each, dict)]
    try:
        webhook = parse_webhook(body(*listed, **top))
    except ParseError:
        assert not objects
        return
    assert {each.identity for each in webhook.alerts} == {one(each, **top).identity for each in objects}
    assert len(webhook.alerts) <= len(objects)
    assert 0 <= webhook.truncated < 2**31
    assert webhook.group_key
    for alert in webhook.alerts:
        assert alert.fingerprint
        assert alert.status in Status
        assert alert.status is Status.RESOLVED or alert.ends_at is None
        texts = [alert.fingerprint, alert.generator_url, *alert.links.values()]
        for pairs in (alert.labels, alert.annotations):
            texts += [*pairs.keys(), *pairs.values()]
        assert all(map(_clean, texts))
    assert all(map(_clean, (webhook.receiver, webhook.group_key, webhook.external_url)))


@settings(deadline=None)
@given(
    st.lists(entries | json_values, max_size=4),
    st.dictionaries(tops, json_values),
    st.sampled_from([None, 2]),
)
def test_parsing_in_pieces_gives_the_same_webhook(
    listed: list[Any], top: dict[str, Any], indent: int | None
) -> None:
    raw = json.dumps({"alerts": listed, **top}, indent=indent).encode()
    assert either_way(raw, lambda raw: in_pieces(raw)[0]) == either_way(
        raw, lambda raw: parse_webhook(raw, 2**50)
    )


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_parsing_an_odd_body_in_pieces_gives_the_same_result(body: Body) -> None:
    if not body.headers:
        raw = body.data
        assert either_way(raw, lambda raw: in_pieces(raw)[0]) == either_way(
            raw, lambda raw: parse_webhook(raw, 2**50)
        )


@pytest.mark.parametrize("cut", ["{", "}", "[", "]", ",", ":", '"', " ", "1"])
def test_invalid_json_is_refused_in_pieces_too(cut: str) -> None:
    good = json.dumps({"status": "firing", "alerts": [{"labels": {"a": "1"}}, {"labels": {"a": "2"}}]})
    for at, sign in enumerate(good):
        for raw in (good[:at] + cut + good[at:], good[:at] + good[at + 1 :] if sign == cut else good):
            whole = either_way(raw.encode(), lambda raw: parse_webhook(raw, 2**50))
            assert either_way(raw.encode(), lambda raw: in_pieces(raw)[0]) == whole


def test_each_alert_is_a_piece() -> None:
    raw = body(*({"labels": {"n": str(number)}, "status": "firing"} for number in range(1_000)))
    webhook, count = in_pieces(raw)
    assert len(webhook.alerts) == 1_000
    assert count >= 1_000
