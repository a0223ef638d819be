"""Only the owner of the process can read the database."""

import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.store import Store, StoreUnavailable
from router.store.file_modes import restrict_files
from tests.database import change

NAMES = ("router.db", "router.db-wal", "router.db-shm", "router.db.lock")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_in(folder: Path) -> dict[str, int]:
    return {each.name: mode(each) for each in folder.iterdir()}


async def modes(folder: Path) -> dict[str, int]:
    """Open a database, write to it, and return the modes of its files."""
    store = await Store.open(f"sqlite:///{folder}/router.db")
    await store.ready()
    found = modes_in(folder)
    await store.close()
    return found


async def test_new_files_and_their_folder_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "state"
    assert await modes(folder) == dict.fromkeys(NAMES, 0o600)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("wrong", [0o644, 0o660, 0o666, 0o604])
async def test_wrong_modes_are_corrected_at_the_start(tmp_path: Path, wrong: int) -> None:
    await modes(tmp_path)
    for name in ("router.db", "router.db.lock"):
        (tmp_path / name).chmod(wrong)
    with capture_logs() as logs:
        assert await modes(tmp_path) == dict.fromkeys(NAMES, 0o600)
    found = {
        (Path(each["file"]).name, each["before"], each["now"])
        for each in logs
        if "corrected" in each["event"]
    }
    before = (
        f"{wrong:04o}"  # SQLite gives the other files, which the check of the database makes, the same mode
    )
    assert {("router.db", before, "0600"), ("router.db.lock", before, "0600")} <= found
    assert {each[1:] for each in found} == {(before, "0600")}


async def test_the_file_of_another_program_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    change(path, "CREATE TABLE other (x)")
    path.chmod(0o644)
    with pytest.raises(StoreUnavailable, match="belongs to another program"):
        await Store.open(f"sqlite:///{path}")
    assert mode(path) == 0o644


async def test_right_modes_are_no_news(tmp_path: Path) -> None:
    await modes(tmp_path)
    (tmp_path / "router.db").chmod(0o400 | 0o200)
    with capture_logs() as logs:
        await modes(tmp_path)
    assert logs == []


def test_a_mode_that_can_not_be_changed_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file belongs to another user, or its file system keeps no modes."""
    (tmp_path / "router.db").write_bytes(b"")
    (tmp_path / "router.db").chmod(0o644)

    def refuse(_path: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    for chmod, words in ((refuse, "can't be changed"), (lambda _path, _mode: None, "keeps no modes")):
        monkeypatch.setattr(Path, "chmod", chmod)
        with capture_logs() as logs:
            restrict_files(tmp_path / "router.db")
        assert [each["log_level"] for each in logs] == ["warning"]
        assert words in logs[0]["event"]


async def test_a_folder_that_can_not_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="give a folder that can be written"):
        await Store.open(f"sqlite:///{tmp_path}/file/state/router.db")


async def test_two_names_of_one_file_are_one_database(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "other.db").symlink_to(tmp_path / "real" / "router.db")
    store = await Store.open(f"sqlite:///{tmp_path}/real/router.db")
    with pytest.raises(StoreUnavailable, match="in use by another"):
        await Store.open(f"sqlite:///{tmp_path}/other.db")
    await store.close()
