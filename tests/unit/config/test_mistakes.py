"""A file for each mistake, with the exact error messages. ``UPDATE_GOLDEN=1 pytest`` writes the messages again."""

import os
from pathlib import Path

import pytest

from router.config import ConfigError, loads

MISTAKES = Path(__file__).parent / "mistakes"
NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC


@pytest.mark.parametrize("path", sorted(MISTAKES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mistake_has_its_position_and_what_to_do(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(path.read_text(), name="routes.yaml", folder=Path("rules"), environ={}, now=NOW)
    words = f"{caught.value.shown}\n"
    golden = path.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(words)
    assert words == golden.read_text()
    assert "secret-" not in words
