"""The texts that pages and the history show have no secret in them."""

from pathlib import Path

import pytest

from router.config import Config, load
from router.config import shown_files as module

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
SECRETS = {
    "slack token": "xoxb-1111111111-abcdefghijkl", "smtp password": "hunter2hunter2", "routing key": "0123456789abcdef0123456789abcdef",
    "telegram token": "123456789:AAabcdefghijklmnopqrstuvwxyz0123456", "discord": "https://discord.com/api/webhooks/123/s3crettoken",
    "url": "https://hooks.example/a/s3cretpath", "bearer": "bearer-of-a-source", "basic": "basicpass", "short": "abc1",
    "hmac": "hmac-secret", "default": "the-default-of-a-variable", "proxy": "proxypassword", "escaped": "k\u00e4se-secret", "block": "block-secret-text",
    "fragment": "https://hooks.slack.com/services/T000/B000/fragmentsecret", "commented": "xoxb-2222222222-commentedout",
    "login": "loginsecret", "teams": "https://prod-1.westeurope.logic.azure.com:443/workflows/1/triggers/manual/paths/invoke?sig=s1gnature",
}  # fmt: skip
MAIN = """
timezone: UTC
# token: {commented}
include: [teams/*.yaml]
sources:
  - {{name: prod, bearer_token: {bearer}}}
  - {{name: other, basic_auth: {{username: am, password: {basic}}}}}
  - name: third
    basic_auth: {{username: am, password: ${{THIRD:-{default}}}}}
network: {{proxy_url: "http://user:{proxy}@proxy.example:3128"}}
channels:
  slack: {{token: {slack token}}}
  pagerduty: {{}}
  webhook: {{}}
  discord: {{}}
  teams: {{}}
  telegram:
    token: "{telegram token}"
  email:
    smarthost: smtp.example:587
    from: a@example.com
    username: me
    password: >-
      {smtp password}
receivers:
  team:
    - pagerduty: {{routing_key: {routing key}}}
    - discord: {{webhook_url: "{discord}"}}
    - teams: {{webhook_url: "{teams}"}}
    - webhook: {{url: "{url}", secret: "{hmac}", name: one}}
    - webhook: {{url: "https://hooks.example/b", secret: "k\\u00e4se-secret", name: two}}  # was user:{login}@hooks.example
    - webhook:
        name: three
        url: ${{HOOK}}
        secret: |-
          {block}
    - webhook: {{name: four, url: "https://hooks.example/c", secret: {short}}}
    - slack: {{channel: C0ALERTS}}
route: {{receiver: team, routes: [{{matchers: ['team="a"'], mount: a}}]}}
"""
FRAGMENT = """
receivers: {{chat: [{{slack: {{webhook_url: "{fragment}"}}}}]}}
route: {{receiver: chat}}
"""


def loaded(folder: Path, *, for_pages: bool = True) -> Config:
    (folder / "teams").mkdir(exist_ok=True)
    (folder / "routes.yaml").write_text(MAIN.format_map(SECRETS))
    (folder / "teams/a.yaml").write_text(FRAGMENT.format_map(SECRETS))
    environ = {"HOOK": "https://hooks.example/from-the-environment"}
    return load(folder / "routes.yaml", environ=environ, now=NOW, for_pages=for_pages)


def test_no_secret_is_in_the_texts_that_are_shown(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert [each.name for each in config.shown] == [
        str(tmp_path / "routes.yaml"),
        str(tmp_path / "teams/a.yaml"),
    ]
    text = "\n".join(each.text for each in config.shown)
    assert {name: secret for name, secret in SECRETS.items() if secret in text} == {}
    for part in ("s3cret", "from-the-environment", "fragmentsecret", "s1gnature", "u00e4se", "abc1"):
        assert part not in text
    assert "${HOOK}" in text  # as it is written
    assert "C0ALERTS" in text
    assert "${THIRD:-" not in text


def test_the_shown_texts_have_the_lines_of_the_files(tmp_path: Path) -> None:
    (main, part) = loaded(tmp_path).shown
    written = MAIN.format_map(SECRETS)
    assert [len(each) for each in main.text.splitlines()] == [len(each) for each in written.splitlines()]
    assert (main.size, main.is_cut, part.is_cut) == (len(written), False, False)


def test_commands_load_without_the_texts(tmp_path: Path) -> None:
    assert loaded(tmp_path, for_pages=False).shown == ()


def test_a_long_file_is_cut_after_it_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_CHARS", 300)
    monkeypatch.setattr(module, "MAX_CHARS", 310)
    (main, part) = loaded(tmp_path).shown
    assert (len(main.text), main.is_cut, len(part.text), part.is_cut) == (300, True, 10, True)
    assert not [secret for secret in SECRETS.values() if secret[:9] in main.text + part.text]
