"""The configuration: the files in force, their history, and a reload."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from router.config import Config, Problem
from router.config_files import DiskState
from router.load_status import ReloadError
from router.model import Role
from router.store import LoadLine
from router.threads import Threads
from router.web.access import actor
from router.web.api.cursors import Page, PageQuery, Query, rows_of_page
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext
from router.web.line_diff import diff_lines

_THREADS = Threads("diff", 1)


class ConfigurationFile(BaseModel):
    """A file of the configuration."""

    name: str
    text: str = Field(description="Its text. Secrets are masked with asterisks.")
    size: int = Field(description="Characters of the whole file.")
    is_cut: bool = Field(description="The file is longer than the text: more than a mebibyte is not kept.")


class FileOnDiskAnswer(BaseModel):
    """A file on the disk, compared with what is in force."""

    name: str
    state: DiskState


class MistakeAnswer(BaseModel):
    """A mistake in a file, or a warning."""

    file: str
    line: int
    column: int
    severity: str = Field(description="error, warning or note.")
    what: str
    todo: str = Field(description="What to do about it.")


class LoadAnswer(BaseModel):
    """A load of the files."""

    id: int
    at: int
    actor: str = Field(
        description="Who asked for it: a user, or ``start``, ``signal``, ``file changed``, ``secret changed``."
    )
    sha256: str | None = Field(description="Of the files that came into force; null: it failed.")
    error: str | None = Field(description="Why it failed; null: it did not.")


class LoadDetail(LoadAnswer):
    """A load of the files, and how they differ from those before."""

    before: int | None = Field(description="The load of the files before; null: none is kept.")
    diffs: list["FileDiff"] = Field(
        description="The files that differ. Empty for files with another ``sha256``: only masked secrets differ."
    )


class FileDiff(BaseModel):
    """How a file differs from the one before."""

    name: str
    lines: list[str] = Field(description="A unified diff.")
    added: int
    removed: int
    is_cut: bool = Field(description="The files differ more than that.")


class ConfigurationVersion(BaseModel):
    """Files that were in force."""

    sha256: str
    loaded_at: int
    loaded_by: str
    files: list[ConfigurationFile] = Field(description="The main file is first.")


class AgreementAnswer(BaseModel):
    """The rules by which all replicas judge, compared with those of this replica."""

    agrees: bool = Field(
        description="They are those of this replica. If not, it keeps webhooks and decides nothing."
    )
    sha256: str | None = Field(description="The hash of their files; null: it is not kept.")
    at: int | None = Field(description="Since when they are in force; null: it is not kept.")
    actor: str | None = Field(
        description="Who asked for it: a user, or ``start``, ``signal``, ``file changed``, ``secret changed``, "
        "``no replica agreed``; null: it is not kept."
    )
    replica: str | None = Field(
        description="The name of the replica that put them in force; null: it is not kept."
    )


class ConfigurationAnswer(ConfigurationVersion):
    """The files of this replica. They are in force, unless ``in_force`` says otherwise."""

    in_force: AgreementAnswer | None = Field(description="The rules in force; null: there are none yet.")

    is_applied: bool = Field(description="All firing alerts are judged by them.")
    error: str | None = Field(description="Why the last load failed, with each mistake; null: it did not.")
    mistakes: list[MistakeAnswer] = Field(description="Mistakes in included files, and warnings.")
    is_same_on_disk: bool = Field(description="The files on the disk are those in force.")
    on_disk: list[FileOnDiskAnswer]


class Reloaded(BaseModel):
    """The files that a reload put in force."""

    sha256: str
    in_force: AgreementAnswer | None = Field(
        description="The rules in force: another replica may have put others in force since."
    )
    mistakes: list[MistakeAnswer] = Field(description="Mistakes in included files, and warnings.")


class LoadQuery(Query):
    """One load."""

    id: Annotated[int, Field(ge=1, lt=2**63, description="The number of the load.")]


class VersionQuery(Query):
    """Files that were in force."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="The hash of the files.")]


async def show_configuration(context: AppContext, _query: Query) -> ConfigurationAnswer:
    config, status = context.config(), context.rules_status()
    on_disk = await context.files_on_disk()
    return ConfigurationAnswer(
        sha256=config.digest, loaded_at=status.get("loaded_at", 0), loaded_by=status.get("loaded_by", ""),
        files=_files(config), is_applied=status["applied"], error=status.get("error"), mistakes=_mistakes(config),
        in_force=_in_force(status),
        is_same_on_disk=all(each.state is DiskState.IN_FORCE for each in on_disk),
        on_disk=[FileOnDiskAnswer(name=str(each.path), state=each.state) for each in on_disk],
    )  # fmt: skip


async def show_version(context: AppContext, query: VersionQuery) -> ConfigurationVersion:
    config, status = context.config(), context.rules_status()
    if config.digest == query.sha256 and config.shown:
        return ConfigurationVersion(
            sha256=config.digest,
            loaded_at=status["loaded_at"],
            loaded_by=status["loaded_by"],
            files=_files(config),
        )
    found = await context.store.pages.load_of(query.sha256)
    if found is None:
        raise ApiError(404, "the files with this hash are not kept: they were never in force, or were pruned")
    line = found.line
    return ConfigurationVersion(
        sha256=line.sha256, loaded_at=line.at, loaded_by=line.actor, files=_stored_files(found.files)
    )


async def list_loads(context: AppContext, query: PageQuery) -> Page[LoadAnswer]:
    lines, total = await context.store.pages.loads(query.last_id(), query.limit + 1)
    shown, following = rows_of_page(lines, query, lambda each: each.id)
    return Page(
        items=[LoadAnswer(**_load(each)) for each in shown], total=total.count, total_is_exact=total.is_exact,
        next=following,
    )  # fmt: skip


async def show_load(context: AppContext, query: LoadQuery) -> LoadDetail:
    found = await context.store.pages.load(query.id)
    if found is None:
        raise ApiError(404, f"there is no load with the number {query.id}, or it was pruned")
    load, before = found
    diffs: list[FileDiff] = []
    if before is not None and not load.line.error:
        diffs = await _THREADS.run(_diffs, before.files, load.files)
    return LoadDetail(**_load(load.line), before=None if before is None else before.line.id, diffs=diffs)


async def reload_configuration(context: AppContext, _query: Query) -> Reloaded:
    try:
        await context.reload(actor())
    except ReloadError as error:
        raise ApiError(422, str(error)) from error
    config = context.config()
    return Reloaded(
        sha256=config.digest, in_force=_in_force(context.rules_status()), mistakes=_mistakes(config)
    )


def _in_force(status: Mapping[str, Any]) -> AgreementAnswer | None:
    found = status.get("in_force")
    return None if found is None else AgreementAnswer.model_validate(found)


def _load(line: LoadLine) -> dict[str, Any]:
    return {
        "id": line.id, "at": line.at, "actor": line.actor, "sha256": line.sha256 or None, "error": line.error or None,
    }  # fmt: skip


def _files(config: Config) -> list[ConfigurationFile]:
    return [
        ConfigurationFile(name=each.name, text=each.text, size=each.size, is_cut=each.is_cut)
        for each in config.shown
    ]


def _stored_files(files: Iterable[Mapping[str, Any]]) -> list[ConfigurationFile]:
    return [ConfigurationFile(**each, is_cut=len(each["text"]) < each["size"]) for each in files]


def _mistakes(config: Config) -> list[MistakeAnswer]:
    found: list[Problem] = [*config.problems, *(p for each in config.fragments for p in each.problems)]
    return [
        MistakeAnswer(
            file=each.file, line=each.line, column=each.column, severity=each.severity, what=each.what, todo=each.todo
        )
        for each in dict.fromkeys(found)
    ]  # fmt: skip


def _diffs(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[FileDiff]:
    old, new = ({each["name"]: each["text"] for each in files} for files in (before, after))
    found = []
    for name in {**new, **old}:
        if old.get(name) == new.get(name):
            continue
        diff = diff_lines(old.get(name, ""), new.get(name, ""))
        found.append(
            FileDiff(
                name=name, lines=list(diff.lines), added=diff.added, removed=diff.removed, is_cut=diff.is_cut
            )
        )
    return found


SHOW_CONFIGURATION = Endpoint(
    "GET", "/api/v1/configuration", show_configuration, Query, ConfigurationAnswer,
    "The files in force, and whether they are the ones on the disk.",
)  # fmt: skip
LIST_LOADS = Endpoint(
    "GET", "/api/v1/configuration/history", list_loads, PageQuery, Page[LoadAnswer],
    "The loads of the files, the newest first: those that changed what is in force, and those that failed.",
)  # fmt: skip
SHOW_LOAD = Endpoint(
    "GET", "/api/v1/configuration/history/{id}", show_load, LoadQuery, LoadDetail,
    "A load of the files, and how they differ from those before.",
)  # fmt: skip
SHOW_VERSION = Endpoint(
    "GET", "/api/v1/configuration/versions/{sha256}", show_version, VersionQuery, ConfigurationVersion,
    "The files that were in force, by the hash that decisions have.",
)  # fmt: skip
RELOAD_CONFIGURATION = Endpoint(
    "POST", "/api/v1/configuration/reload", reload_configuration, Query, Reloaded,
    "Load the files again. They come into force as a whole or not at all.", role=Role.ADMIN,
    problems={422: "The files can't be used; ``detail`` has each mistake with file, line and column."},
    action="reload configuration",
)  # fmt: skip
ENDPOINTS = (SHOW_CONFIGURATION, LIST_LOADS, SHOW_LOAD, SHOW_VERSION, RELOAD_CONFIGURATION)
