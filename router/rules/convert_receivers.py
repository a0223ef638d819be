"""Converts the receivers of an alertmanager.yml, and the channels that they need, to those of routes.yaml.

What the keys mean: https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError

from router.channels import REGISTRY, ChannelSpec
from router.channels.importing import CORRECT_IT, ChannelImport, ImportContext, Location, Node, Variables
from router.config.findings import describe_finding

_ENDS_SENT = (
    "send_resolved is absent, and its default in Alertmanager is false; the router sends ends",
    "nothing; or add `send_resolved: false` to the destination",
)
_ENDS_DIFFER = (
    "this destination is in the file with and without send_resolved; the router sends ends",
    "nothing; in routes.yaml a destination has one send_resolved",
)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_MAX_DESTINATION_NAME_CHARS = 60
_MAX_SAME_NAMES = 1_000


class Receivers:
    """The receivers, and the channels that they need."""

    def __init__(self, global_node: Node, variables: Variables) -> None:
        self.channels: dict[str, dict[str, Any]] = {}
        """The settings of each section of ``channels:``, by name."""
        self.found: dict[str, list[dict[str, Any]]] = {}
        """The destinations of each receiver, by its name."""
        self._names: dict[tuple[str, str], Mapping[str, Any]] = {}
        """The options that identify a destination, by its channel and name."""
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        """Each destination once, by its channel and its options without ``send_resolved``."""
        self._imports: dict[str, tuple[ChannelSpec, ChannelImport]] = {}
        """The channel and its importer, by the key of a receiver such as ``slack_configs``."""
        self._retired: dict[str, tuple[str, str]] = {}
        """What to note and what to do, by the key of a receiver whose service is gone."""
        for spec in REGISTRY.values():
            if spec.importer is not None:
                self._retired |= spec.importer.retired_keys
                global_node.take(*spec.importer.global_keys)
                context = ImportContext(
                    global_node, variables, partial(self._name, spec.name),
                    partial(problems, spec.settings), partial(problems, spec.options),
                )  # fmt: skip
                self._imports[spec.importer.configs_key] = spec, spec.importer(context)

    def read(self, nodes: list[Node]) -> None:
        """Read the list of receivers."""
        for node in nodes:
            name = node.text("name")
            if name is None:
                node.note("a receiver has no name; it is left out", CORRECT_IT)
                node.take(*node.data)
                continue
            if name in self.found:
                todo = "rename one of them; Alertmanager would refuse two"
                node.note(
                    f"two receivers are named {name!r}; they are merged, and the result notifies all their destinations",
                    todo,
                    key="name",
                )
            found = self.found.setdefault(name, [])
            self._read_destinations(node, name)
            if not found and len(node.data) > 1:
                node.note(
                    f"the receiver {name!r} has no destination now", "give it a destination", key="name"
                )

    def known(self, node: Node, name: str | None) -> str:
        """Return the name of a receiver of the result. If there is none of this name, add an empty one and note it."""
        if name is None:
            name = "nobody"
            while name in self.found:
                name += "-at-all"
            node.note(
                f"the root route names no receiver; {name!r} is added, without any destination", CORRECT_IT
            )
        elif name not in self.found:
            what = f"there is no receiver {name!r}; it is added, without any destination"
            node.note(what, CORRECT_IT, key="receiver")
        self.found.setdefault(name, [])
        return name

    def _read_destinations(self, node: Node, name: str) -> None:
        found = self.found[name]
        for key in node.data:
            if key in self._imports:
                spec, importer = self._imports[key]
                for config in node.nodes(key):
                    each = self._destination(spec, importer, config, name)
                    if each is not None and each not in found:
                        found.append(each)
            elif key in self._retired:
                node.take(key)
                node.note(*self._retired[key], key=key)
            elif key.endswith("_configs") and node.raw(key):
                what = f"the receiver {name!r} uses {key}, for which the router has no channel"
                node.note(what, "reach it by email or a webhook, if it takes them", key=key)

    def _destination(
        self, spec: ChannelSpec, importer: ChannelImport, config: Node, receiver: str
    ) -> dict[str, Any] | None:
        sends_resolved = config.flag_or_none("send_resolved")
        options = importer.destination(config, receiver)
        if importer.settings is not None:
            self.channels.setdefault(spec.section, importer.settings)
        if options is None:
            return None
        if sends_resolved is None and not importer.sends_resolved:
            config.note(*_ENDS_SENT, once=_ENDS_SENT)
        without_ends = {"send_resolved": False} if sends_resolved is False else {}
        return self._unified(config, spec.name, {**options, **without_ends})

    def _unified(self, config: Node, channel: str, options: dict[str, Any]) -> dict[str, Any]:
        """Return the destination, or an equal one that was read before.

        In routes.yaml a destination has one ``send_resolved``. If alertmanager.yml has two, the router sends ends.
        """
        identity = channel, repr({key: value for key, value in options.items() if key != "send_resolved"})
        before = self._known.setdefault(identity, {channel: options})
        if before != {channel: options}:
            config.note(*_ENDS_DIFFER, once=_ENDS_DIFFER)
            before[channel].pop("send_resolved", None)
        return before

    def _name(self, channel: str, receiver: str, options: Mapping[str, Any]) -> str:
        """Return a name for a destination; the same name for the same options."""
        stem = _NOT_IN_NAMES.sub("-", receiver).strip("-")[:_MAX_DESTINATION_NAME_CHARS] or channel
        names = [name for (kind, name), given in self._names.items() if kind == channel and given == options]
        for name in (*names, stem, *(f"{stem}-{number}" for number in range(2, _MAX_SAME_NAMES))):
            if self._names.setdefault((channel, name), options) == options:
                return name
        return stem


def findings(model: type[BaseModel], data: Mapping[str, Any]) -> dict[Location, tuple[str, str]]:
    """Validate data. Return what is wrong and what to do, by location."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        return {detail["loc"]: describe_finding(detail, detail["loc"]) for detail in error.errors()}
    return {}


def problems(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Validate data. Return what is wrong and what to do, by the top-level key of the model."""
    return {str(where[0]): said for where, said in findings(model, data).items() if where}
