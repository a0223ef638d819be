"""The text of a file: invalid text is refused, with its position."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config import ConfigError, load, loads
from router.config.document import read_document

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
ROOT = Path(__file__).parents[3]
FORTY = "".join(f"# line {number}\n" for number in range(1, 40))
GOOD = "receivers: {team: []}\nroute: {receiver: team}\n"


def position(text: str | bytes, folder: Path) -> tuple[int, int]:
    """Return the position of the only mistake of a file."""
    path = folder / "routes.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, now=NOW)
    (error,) = caught.value.errors
    return error.line, error.column


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{FORTY}receivers: {{team: []}} # caf\u00e9\n".encode("latin-1"), (40, 28)),
        (f"{FORTY}{GOOD}# \u00e9 ".encode() + b"\xff\n", (42, 5)),
        (f"{FORTY}a: b\x0b\n", (40, 5)),
        (f"{FORTY}a: '\x85\x9b'\n", (40, 6)),
        (f"\ufeffa: \x7f\n{GOOD}", (1, 4)),
        ("a: b\r\nc: \x00\r\n", (2, 4)),
        ("a: b\rc: d\re: \x1b", (3, 4)),
        ("a: \U000f0041\n", (1, 4)),
        ('a: "\\U00110000"\n', (1, 5)),
        (f"route: {{receiver: 'team\n{FORTY}", (1, 19)),
        (f"route: {{receiver: [team, {{\n{FORTY}", (1, 26)),
        (f'{FORTY}a: "b\n---\n', (40, 4)),
        (f"{FORTY}a: *unknown\n", (40, 4)),
        (f"{FORTY}a: b\n---\nc: d\n", (41, 1)),
        ("a: \\ud83d\nb: [" + "[" * 1_000, (2, None)),
    ],
)  # fmt: skip
def test_invalid_yaml_is_an_error_with_its_position(
    tmp_path: Path, text: str | bytes, wanted: tuple[int, Any]
) -> None:
    line, column = position(text, tmp_path)
    assert (line, column if wanted[1] is not None else None) == wanted


def test_lines_are_those_of_yaml(tmp_path: Path) -> None:
    """Python breaks lines at characters that don't end a line in YAML."""
    path = tmp_path / "routes.yaml"
    path.write_text("# \x85 \u2028 \u2029\nreceivers: {team: []}\nroute: {receiver: taem}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, now=NOW)
    assert "  3 | route: {receiver: taem}\n    |                   ^" in caught.value.shown


def test_surrogate_pairs_of_json_are_read() -> None:
    names = {"receivers": {"ops \U0001f525": []}, "route": {"receiver": "ops \U0001f525"}}
    text = json.dumps(names)
    assert "\\ud83d\\udd25" in text
    config = loads(text, name="routes.yaml", folder=ROOT, environ={}, now=NOW)
    assert config.policy.root.receiver == "ops \U0001f525"


VALUES = [
    '{"channels": {"slack": {"token": "?"}}}',
    '{"receivers": {"?": [{"slack": {"channel": "?"}}]}}',
    '{"receivers": {"a": [{"webhook": {"url": "?", "name": "?"}}, {"email": {"to": ["?"]}}]}}',
    '{"sources": [{"name": "?", "basic_auth": {"username": "?", "password": "?"}}]}',
    '{"time_intervals": [{"name": "?", "time_intervals": [{"weekdays": ["?"], "location": "?"}]}]}',
    '{"route": {"receiver": "?", "match": {"a": "?", "?": "b"}, "matchers": ["?"], "group_by": ["?"]}}',
    '{"inhibit_rules": [{"name": "?", "equal": ["?"]}]}',
    '{"timezone": "?", "templates": "?", "include": ["?"], "?": 1}',
]
HALVES = st.one_of(st.integers(0xD800, 0xDFFF).map(lambda code: f"\\u{code:04x}"), st.just("\\ude00\\ud83d"))
PLACES = [(text, number) for text in VALUES for number in range(text.count("?"))]


@settings(deadline=None)  # the first example also warms what all share
@given(st.sampled_from(PLACES), st.text("ab ", max_size=3), HALVES, st.text("ab ", max_size=3))
def test_a_lone_surrogate_is_refused_in_every_text(
    where: tuple[str, int], before: str, half: str, after: str
) -> None:
    template, number = where
    begin = [at for at, char in enumerate(template) if char == "?"][number]
    text = f"{template[:begin]}{before}{half}{after}{template[begin + 1 :]}".replace("?", "x")
    with pytest.raises(ConfigError) as caught:
        loads(text, name="routes.yaml", folder=ROOT, environ={}, now=NOW)
    found = [each for each in caught.value.errors if "half of a character" in each.what]
    assert [(each.line, each.column) for each in found] == [(1, begin + len(before) + 1)]
    assert str(caught.value).encode()


# https://yaml.org/spec/1.2.2/#742-flow-mappings: a key has at most 1,024 characters, and an escape is six of them.
KEYS = st.text(max_size=80)


_START = "\\udb80\\udc24"
"""Escapes for the character that begins a hidden variable."""


@pytest.mark.parametrize("escape", ["\\udb80\\udc24", "\\uDB80\\uDC24", "\\U000f0024", "\\U000F0024"])
def test_what_looks_like_a_hidden_variable_is_an_error(escape: str) -> None:
    rest = "\\U000f007b0\\U000f007d"
    with pytest.raises(ConfigError) as caught:
        loads(f'a: "x{escape}{rest}"', name="routes.yaml", folder=ROOT, environ={}, now=NOW)
    assert [(each.line, each.column) for each in caught.value.errors] == [(1, 6)]


@settings(deadline=None)  # the first example also warms what all share
@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_every_text_is_read_as_written(data: Any) -> None:
    text = json.dumps({"a": data})
    if "${" not in text and _START not in text:
        assert read_document(text, "routes.yaml", {}).data == {"a": data}
