"""What every part of routes.yaml is read with: models, known names, secrets; mistakes go into the document."""

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.config.document import SECRETS, Document, Location, Missing, placeholder
from router.config.findings import findings, keys_at, prune, words
from router.config.problems import did_you_mean

M = TypeVar("M", bound=BaseModel)
# Where {file: path} stands for a secret.
_SECRET_PLACES = ("channels", "receivers", "sources")


class Reader:
    """Reads one file. :param folder: what relative paths in it start from"""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.files: list[Path] = []
        """Of secrets, as far as they could be looked for."""
        self.folder = folder
        for place in _SECRET_PLACES:
            if place in document.data:
                document.data[place] = self._secrets(document.data[place], (place,))

    def mapping(self, key: str) -> dict[str, Any]:
        """A section as it stands; what is no mapping has been reported by the model of the file."""
        given = self.document.data.get(key)
        return given if isinstance(given, dict) else {}

    def modelled(self, model: type[M]) -> M | None:
        """The file's shape. What is wrong in it is reported and left out, so that the rest is looked at, too;
        None: too little is left.
        """
        data, reported = copy.deepcopy(self.document.data), set()
        while True:
            try:
                return model.model_validate(data)
            except ValidationError as error:
                pruned = False
                for detail in findings(error):
                    if detail["loc"] not in reported:
                        reported.add(detail["loc"])
                        self.explain(model, detail, ())
                    pruned |= prune(data, detail["loc"])
                if not pruned:
                    return None

    def known(self, name: str, known: Collection[str], where: Location, what: str) -> bool:
        if name in known:
            return True
        todo = did_you_mean(name, known, f"the {'countries' if what == 'country' else what + 's'} are")
        self.document.problem(where, f"there is no {what} {name!r}", todo)
        return False

    def validated(self, model: type[M], data: Any, where: Location, context: Any = None) -> M | None:
        try:
            return model.model_validate({} if data is None else data, context=context)
        except ValidationError as error:
            for detail in findings(error):
                self.explain(model, detail, where)
            return None

    def explain(self, model: type[BaseModel], detail: ErrorDetails, where: Location) -> None:
        location = (*where, *detail["loc"])
        if detail["type"] == "extra_forbidden":
            key = str(detail["loc"][-1])
            known = keys_at(model, detail["loc"][:-1])
            todo = did_you_mean(key, known, "the keys here are")
            self.document.problem(location, f"unknown key {key!r}", todo, at_key=True)
        elif detail["type"] == "missing":
            self.document.problem(location, f"{detail['loc'][-1]!r} is missing", "add it")
        else:
            self.document.problem(location, *words(detail, location))

    def _secrets(self, data: Any, where: Location) -> Any:
        """{file: path} becomes what the file holds."""
        if isinstance(data, list):
            return [self._secrets(each, (*where, index)) for index, each in enumerate(data)]
        secret = where[-1] in SECRETS
        if isinstance(data, str) and secret and not data.strip():
            self.document.lack(where, f"{where[-1]} is empty", "give it, or leave the key out")
            return data if self.document.missing is Missing.ERROR else placeholder(str(where[-1]))
        if not isinstance(data, dict):
            return data
        if data.keys() == {"file"} and isinstance(data["file"], str) and secret:
            return self._secret(self.folder / data["file"], (*where, "file"))
        return {key: self._secrets(value, (*where, key)) for key, value in data.items()}

    def _secret(self, path: Path, where: Location) -> str:
        self.files.append(path)
        try:
            return path.read_text().rstrip("\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            self.document.lack(where, f"{path} can't be read: {reason}", "put the secret there")
            return placeholder(path.name)


def without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    """A file's data; a label may well be called ``url``."""
    return {key: _masked(value) if key in _SECRET_PLACES else value for key, value in data.items()}


def _masked(data: Any) -> Any:
    match data:
        case dict():
            return {key: "" if key in SECRETS else _masked(value) for key, value in data.items()}
        case list():
            return [_masked(each) for each in data]
        case _:
            return data
