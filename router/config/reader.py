"""Reads a rules file: validates its models, resolves its secrets, and checks its names.

Each mistake is added to the document as an error with its line and column.
"""

import copy
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.config.document import Document, Location, MissingVariables, placeholder
from router.config.findings import describe_finding, keys_at, readable_errors, remove_piece
from router.config.problems import did_you_mean
from router.config.secrets import secret_keys

M = TypeVar("M", bound=BaseModel)
# In these sections, a secret may be written as {file: path}.
SECRET_SECTIONS = ("channels", "receivers", "sources", "users", "network", "deadman", "sentry", "tracing")
# Keys whose values are shown in logs, metrics and pages.
_PUBLIC_KEYS = frozenset({"name", "channel"})
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*")


class Reader:
    """Reads one rules file."""

    def __init__(self, document: Document, folder: Path, kept: Mapping[str, str] | None = None) -> None:
        """
        :param folder: the base of relative paths in the file
        :param kept: the last good contents of secret files, by their path as written in the rules file
        """
        self.document = document
        self.files: list[Path] = []
        """The paths of all secret files that the rules file names, also of missing ones."""
        self.held: dict[str, str] = {}
        """The contents of the secret files, by their path as written in the rules file."""
        self.folder = folder
        self._kept = kept or {}
        for position in SECRET_SECTIONS:
            if position in document.data:
                document.data[position] = self._secrets(document.data[position], (position,))
        for position in SECRET_SECTIONS:
            self._check_public_names(document.data.get(position), (position,))
        for position in ("time_intervals", "inhibit_rules", "heartbeats"):
            given = document.data.get(position)
            for index, each in enumerate(given if isinstance(given, list) else ()):
                if isinstance(each, dict):  # only this key: labels further down may have the same names
                    self._check_public_names({"name": each.get("name")}, (position, index))

    def mapping(self, key: str) -> dict[str, Any]:
        """Return a section as written. If it is not a mapping, return an empty one: the model of the file reports the
        error.
        """
        given = self.document.data.get(key)
        return given if isinstance(given, dict) else {}

    def read_model(self, model: type[M]) -> M | None:
        """Return the file as a model; None: a part that the model requires is invalid.

        Invalid parts are reported and removed, so that the rest is checked, too.
        """
        data, reported = copy.deepcopy(self.document.data), set()
        while True:
            try:
                return model.model_validate(data)
            except ValidationError as error:
                pruned = False
                for detail in readable_errors(error):
                    if detail["loc"] not in reported:
                        reported.add(detail["loc"])
                        self.explain(model, detail, ())
                    pruned |= remove_piece(data, detail["loc"])
                if not pruned:
                    return None

    def is_known(self, name: str, known: Collection[str], where: Location, what: str) -> bool:
        """Return whether a name is known; add an error if it is not. :param what: what the name is for, e.g. "receiver"."""
        if name in known:
            return True
        todo = did_you_mean(name, known, f"the {'countries' if what == 'country' else what + 's'} are")
        self.document.add_error(where, f"there is no {what} {name!r}", todo)
        return False

    def validate(self, model: type[M], data: Any, where: Location, context: Any = None) -> M | None:
        """Return data as a model; None: it is invalid, and the errors are added."""
        try:
            return model.model_validate({} if data is None else data, context=context)
        except ValidationError as error:
            for detail in readable_errors(error):
                self.explain(model, detail, where)
            return None

    def explain(self, model: type[BaseModel], detail: ErrorDetails, where: Location) -> None:
        """Add an error for a finding of pydantic. :param where: the location of the model's data"""
        location = (*where, *detail["loc"])
        if detail["type"] == "extra_forbidden":
            key = str(detail["loc"][-1])
            known = keys_at(model, detail["loc"][:-1])
            todo = did_you_mean(key, known, "the keys here are")
            self.document.add_error(location, f"unknown key {key!r}", todo, at_key=True)
        elif detail["type"] == "missing":
            self.document.add_error(location, f"{detail['loc'][-1]!r} is missing", "add it")
        else:
            self.document.add_error(location, *describe_finding(detail, location))

    def _secrets(self, data: Any, where: Location) -> Any:
        """Return data with each secret as text, also secrets that are in files."""
        if (key := _last_key(where)) in secret_keys():
            if isinstance(data, str):
                return self._secret(data, where, f"{key} is empty", "give it, or leave the key out")
            if isinstance(data, dict) and data.keys() == {"file"} and isinstance(data["file"], str):
                return self._from_file(data["file"], (*where, "file"))
        if isinstance(data, list):
            return [self._secrets(each, (*where, index)) for index, each in enumerate(data)]
        if isinstance(data, dict):
            return {key: self._secrets(value, (*where, key)) for key, value in data.items()}
        return data

    def _from_file(self, name: str, where: Location) -> str:
        path = self.folder / name
        self.files.append(path)
        self.document.secrets.note_file(path)
        try:
            text = self._kept[name] if name in self._kept else path.read_bytes().decode()
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                self.document.secrets.note_unreadable(path)
            reason = error.strerror if isinstance(error, OSError) else "not text"
            self.document.add_missing_credential(
                where, f"{path} can't be read: {reason}", "put the secret there"
            )
            return placeholder(str(path))
        self.held[name] = text
        return self._secret(text, where, f"the file {path} is empty", "put the secret there")

    def _secret(self, text: str, where: Location, empty: str, todo: str) -> str:
        """Return a secret without the line ends before and after it. Add an error if it is empty or has several lines.

        :param empty: the message if it is empty
        :param todo: what to do if it is empty
        """
        secret = text.strip("\r\n")
        self.document.secrets.add(secret.strip())
        if not secret.strip():
            what = empty
        elif not _ONE_LINE.fullmatch(secret):
            key = _last_key(tuple(part for part in where if part != "file"))
            what, todo = f"{key} has a line end or a control character in it", "give a single line of text"
        else:
            return secret
        if self.document.missing is not MissingVariables.MADE_UP:
            self.document.add_error(where, what, todo)
        return placeholder(str(where))

    def _check_public_names(self, data: Any, where: Location) -> None:
        """Add an error for each name that contains a secret, because names are shown in logs, metrics and pages. An
        address counts as a secret, because it may be all that is needed to post there.
        """
        if isinstance(data, list):
            for index, each in enumerate(data):
                self._check_public_names(each, (*where, index))
        elif isinstance(data, dict):
            for key, value in data.items():
                if where == ("receivers",) and self.document.secrets.shown_in(str(key)):
                    self._refuse_name((*where, key), "the name of the receiver", at_key=True)
                if key in _PUBLIC_KEYS and isinstance(value, str):
                    if "://" in value:
                        self.document.secrets.add(value)
                    if self.document.secrets.shown_in(value):
                        self._refuse_name((*where, key), key)
                self._check_public_names(value, (*where, key))

    def _refuse_name(self, where: Location, what: str, *, at_key: bool = False) -> None:
        todo = "a channel is its ID (C…), a name is a word of your own"
        self.document.add_error(
            where, f"{what} holds a secret, and is shown in logs and pages", todo, at_key=at_key
        )


def _last_key(where: Location) -> str:
    """Return the last key of a location; the items of a list have the key of the list."""
    return next(str(part) for part in reversed(where) if isinstance(part, str))


def without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a file without the values of secrets.

    Only sections that may have secrets are changed, because elsewhere a label may be named ``url``.
    """
    return {key: _masked(value) if key in SECRET_SECTIONS else value for key, value in data.items()}


def _masked(data: Any) -> Any:
    match data:
        case dict():
            return {key: "" if key in secret_keys() else _masked(value) for key, value in data.items()}
        case list():
            return [_masked(each) for each in data]
        case _:
            return data
