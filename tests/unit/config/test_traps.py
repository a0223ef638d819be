"""A file for each trap, with the exact warnings of `check`. ``UPDATE_GOLDEN=1 pytest`` writes the warnings again."""

import os
import shutil
from pathlib import Path

import pytest

from router.config import show_problem
from router.rules.check import check_file

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
TRAPS = Path(__file__).parent / "traps"


@pytest.mark.parametrize("path", sorted(TRAPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_trap_has_its_position_and_what_to_do(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(path, tmp_path / "routes.yaml")
    shutil.copytree(TRAPS / "words", tmp_path / "words")
    monkeypatch.chdir(tmp_path)
    checked = check_file(Path("routes.yaml"), {}, NOW)
    words = "".join(f"{show_problem(problem, checked.texts)}\n" for problem in checked.problems)
    golden = path.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(words)
    assert words == golden.read_text()
    assert bool(words) is not path.stem.endswith("_fine")
