"""Every text is unchanged after packing and unpacking."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.packed import LearnedDictionary, dictionary_number, dictionary_words, pack, unpack
from tests.examples import examples


@given(st.binary(max_size=2_000) | st.text(max_size=2_000).map(str.encode))
@examples(200)
def test_a_packed_text_is_unpacked_unchanged(data: bytes) -> None:
    assert unpack(pack(data)) == data
    assert len(pack(data)) <= len(data) + 1


@given(
    st.recursive(st.text() | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
@examples(100)
def test_unpacked_json_of_a_former_version_stays_unchanged(value: object) -> None:
    plain = json.dumps(value).encode()
    assert unpack(plain) == plain


def test_a_webhook_of_one_alert_takes_less_than_a_third() -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "HighLatency", "instance": "api-7:9100", "severity": "critical"},
        "annotations": {"summary": "p99 is over 2 s", "description": "The 99th percentile is 2.4 s."},
        "startsAt": "2026-11-23T11:00:00.123Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "6f59a7c5637468ea",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=latency+%3E+2",
    }  # fmt: skip
    body = {
        "receiver": "router", "status": "firing", "alerts": [alert], "groupLabels": {"alertname": "HighLatency"},
        "commonLabels": alert["labels"], "commonAnnotations": alert["annotations"], "version": "4",
        "externalURL": "http://alertmanager:9093", "groupKey": '{}:{alertname="HighLatency"}', "truncatedAlerts": 0,
    }  # fmt: skip
    data = json.dumps(body, separators=(",", ":")).encode()
    assert len(pack(data)) < len(data) / 3


@pytest.mark.parametrize("length", [5, -1])
def test_a_damaged_text_is_an_error(length: int) -> None:
    packed = pack(bytes(range(256)) * 2 + b"x" * 2_000)
    with pytest.raises(ValueError, match="can't unpack the text"):
        unpack(packed[:length])


def test_a_text_that_a_former_version_packed_can_be_read() -> None:
    alert = {
        "status": "firing", "labels": {"alertname": "Down", "severity": "critical"},
        "annotations": {"summary": "It is down"},
    }  # fmt: skip
    kept = bytes.fromhex("01abc6927eb0fbc9251f9c3db025905a3cdef52c51c82c56480169aead0500")
    assert json.loads(unpack(kept)) == alert
    assert unpack(b"\0short") == b"short"


@given(st.binary(max_size=2_000), st.integers(1, 255), st.binary(max_size=500))
@examples(100)
def test_a_text_packed_by_a_learned_dictionary_needs_it(data: bytes, number: int, sample: bytes) -> None:
    learned = LearnedDictionary(number, dictionary_words([sample]))
    packed = pack(data, learned)
    assert dictionary_number(packed) in {None, number}
    assert unpack(packed, learned if dictionary_number(packed) else None) == data


@pytest.mark.parametrize("length", [59, 60, 4_096, 4_097, 16_384, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("sample", [0, 3_000, 12_000, 40_000])
def test_texts_of_any_length_are_unchanged_with_any_dictionary(length: int, sample: int) -> None:
    words = b"".join(b"%d " % number for number in range(length + sample))
    learned = LearnedDictionary(1, dictionary_words([words[:sample]]))
    data = words[sample // 2 :][:length]
    packed = pack(data, learned)
    assert unpack(packed, learned if dictionary_number(packed) else None) == data
    assert len(packed) <= len(data) + 1
    assert pack(data, learned) == packed  # also after other texts were packed


def test_a_learned_dictionary_leaves_a_third_of_similar_texts() -> None:
    def text(number: int) -> bytes:
        pod = f"api-{number * 7_919_993:010x}"
        return json.dumps(
            {"labels": {"pod": pod}, "runbook": "https://wiki.example/crash-loops", "is": "up"}
        ).encode()

    learned = LearnedDictionary(1, dictionary_words([text(1)]))
    assert len(pack(text(2), learned)) < len(pack(text(2))) / 2
