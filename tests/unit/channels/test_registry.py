"""Every channel of the registry has a rig; every rig and every block of a template has a channel."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import router.channels
from router.channels import REGISTRY
from router.render import Templates
from router.render.samples import sample_conversations
from tests.unit.channels.rigs import FOLDER, ChannelRig, channel_at
from tests.unit.channels.talk import LEVELS


class RecordingTemplates(Templates):
    """Keeps which blocks were rendered."""

    def __init__(self) -> None:
        super().__init__(levels=LEVELS, timezone="UTC")
        self.rendered: set[tuple[str, str]] = set()

    def render(self, name: str, block: str, values: Mapping[str, Any]) -> str:
        self.rendered.add((name, block))
        return super().render(name, block, values)


def test_every_channel_has_a_rig(rig: ChannelRig) -> None:
    assert rig.answers
    assert rig.conversations


def test_every_rig_has_a_channel() -> None:
    rigs = {path.name.removesuffix("_rig.py") for path in FOLDER.glob("*_rig.py")}
    strangers = sorted(rigs - REGISTRY.keys())
    assert not strangers, f"these channels are not in REGISTRY of router/channels/__init__.py: {strangers}"


def test_every_block_of_a_template_is_used_by_a_channel() -> None:
    templates = RecordingTemplates()
    shipped = {(name, block) for name, each in templates._templates.items() for block in each.blocks}
    for name, spec in REGISTRY.items():
        channel, there = channel_at(name, "127.0.0.1:9")
        for kind, sample in sample_conversations(LEVELS).items():
            if spec.digest is ("digest" in kind) and not ("storm" in kind and spec.storm_every is None):
                channel.render(there, sample, templates)
    unused = sorted(shipped - templates.rendered)
    assert not unused, f"no channel renders these blocks: {unused}"


def owner(module: str) -> str:
    """Return the channel whose module this is, such as ``slack`` of ``slack_layout``; empty: the module is shared."""
    return next((name for name in REGISTRY if module == name or module.startswith(f"{name}_")), "")


CHANNEL_FILES = sorted(Path(router.channels.__path__[0]).glob("*.py"))


def test_channels_do_not_know_each_other() -> None:
    found = []
    for path in CHANNEL_FILES:
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        named = {f"{node.module}.{each.name}" for node in imports for each in node.names}
        modules = {name.split(".")[2] for name in named if name.startswith("router.channels.")}
        others = {module for module in modules if owner(module) not in {"", owner(path.stem)}}
        found += [f"{path.name} imports {module}" for module in sorted(others)]
    assert [each for each in found if not each.startswith("__init__.py")] == []
