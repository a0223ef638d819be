"""Secrets from text, variables and files are read in the same way, and never shown."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.channels.webhook import WebhookOptions
from router.config import Config, ConfigError, load, loads
from router.rules.check import check_file

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
RULES = """channels: {{webhook: {{}}}}
receivers: {{team: [{{webhook: {{url: "http://127.0.0.1:9/", secret: {secret}}}}}]}}
route: {{receiver: {receiver}}}
"""


def written(folder: Path, secret: str, receiver: str = "team") -> Path:
    path = folder / "routes.yaml"
    path.write_text(RULES.format(secret=secret, receiver=receiver))
    return path


def origin(kind: str, folder: Path, secret: str) -> tuple[str, dict[str, str]]:
    """Return the text that the file has for a secret, and the environment."""
    match kind:
        case "file":
            (folder / "secret").write_bytes(secret.encode())
            return "{file: secret}", {}
        case "variable":
            return "${SECRET}", {"SECRET": secret}
        case "default":
            return f"${{SECRET:-{secret.strip()}}}", {}
        case _:
            return json.dumps(secret), {}


def secret_of(config: Config) -> str:
    (destination,) = config.policy.receivers["team"]
    options = destination.options
    assert isinstance(options, WebhookOptions)
    assert options.secret is not None
    return options.secret.get_secret_value()


ORIGINS = pytest.mark.parametrize("kind", ["literal", "variable", "file"])


@ORIGINS
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\n\n", ""])
def test_outer_line_ends_are_not_part_of_a_secret(tmp_path: Path, kind: str, ends: str) -> None:
    text, environ = origin(kind, tmp_path, f" the secret {ends}")
    assert secret_of(load(written(tmp_path, text), environ=environ, now=NOW)) == " the secret "


@ORIGINS
@pytest.mark.parametrize("empty", ["", "\n", "\r\n", "  \n", "\t"])
def test_an_empty_secret_is_a_mistake_for_serve_and_for_check(tmp_path: Path, kind: str, empty: str) -> None:
    text, environ = origin(kind, tmp_path, empty)
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=r":2:\d+: (secret|the file .*) is empty; ") as caught:
        load(path, environ=environ, now=NOW)
    assert check_file(path, environ, NOW).problems == caught.value.errors
    assert secret_of(load(path, environ=environ, now=NOW, preview=True)).strip()


@ORIGINS
def test_a_secret_of_two_lines_is_a_mistake(tmp_path: Path, kind: str) -> None:
    text, environ = origin(kind, tmp_path, "one\ntwo")
    with pytest.raises(ConfigError, match="secret has a line end or a control character in it"):
        load(written(tmp_path, text), environ=environ, now=NOW)


def test_a_secret_that_is_not_utf8_is_a_mistake_with_its_position(tmp_path: Path) -> None:
    path = written(tmp_path, "${SECRET}")
    with pytest.raises(
        ConfigError, match=r":2:\d+: the environment variable SECRET has bytes that are not UTF-8"
    ):
        load(path, environ={"SECRET": "a\udcffb"}, now=NOW)
    (tmp_path / "secret").write_bytes(b"a\xffb")
    with pytest.raises(ConfigError, match=r":2:\d+: .*secret can't be read: not text"):
        load(written(tmp_path, "{file: secret}"), environ={}, now=NOW)


def test_missing_secrets_are_not_reported_as_equal(tmp_path: Path) -> None:
    """`check` needs no credentials: each missing one gets a placeholder of its own."""
    names = [f"WEBHOOK_TOKEN_OF_THE_ALERTMANAGER_{number}" for number in range(2)]
    sources = ", ".join(f'{{name: s{n}, bearer_token: "${{{name}}}"}}' for n, name in enumerate(names))
    files = ", ".join(f"{{name: f{n}, bearer_token: {{file: {n}/token}}}}" for n in range(2))
    path = tmp_path / "routes.yaml"
    path.write_text(
        f"receivers: {{nobody: []}}\nroute: {{receiver: nobody}}\nsources: [{sources}, {files}]\n"
    )
    assert {problem.is_warning for problem in check_file(path, {}, NOW).problems} == {True}


SECRET = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=8, max_size=40)


@settings(deadline=None)  # the first example also warms what all share
@given(
    # A secret of plain words may stand in a message by chance.
    SECRET.map(str.strip).filter(lambda text: len(text) >= 8 and not re.fullmatch(r"[A-Za-z ]+", text)),
    st.sampled_from(["literal", "variable", "default"]),
)
def test_no_error_shows_a_secret_in_any_position(secret: str, kind: str) -> None:
    """The word is a secret, and also a receiver, a label, a name, an interval, a key; also in a broken file."""
    if kind == "default" and not set('"\\}').isdisjoint(secret):
        kind = "variable"  # a default can't hold these
    word = json.dumps(secret).replace("${", "\\x24{")
    text, environ = origin(kind, Path("/nowhere"), secret)
    text = text.replace('"${', '"\\x24{') if kind == "literal" else json.dumps(text, ensure_ascii=False)
    rules = (
        RULES.format(secret=text, receiver=word)
        + f"""time_intervals: [{{name: {word}, x: 1}}, {{name: {word}}}]
inhibit_rules: [{{source_matchers: [{word}], name: {word}, {word}: 1}}]
sources: [{{name: {word}}}]
templates: {word}
"""
    )
    for broken in (rules, f"{rules}x: [", f"{rules}x: !{{"):
        with pytest.raises(ConfigError) as caught:
            loads(broken, name="routes.yaml", folder=Path("/nowhere"), environ=environ, now=NOW)
        words = [f"{each.what}; {each.todo}" for each in caught.value.errors]
        assert not any(secret in each or repr(secret)[1:-1] in each for each in words)
        if broken == rules:
            assert not any(secret in each for each in caught.value.texts.values())
