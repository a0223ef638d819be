"""What the shared tests ask about a channel, and where they find it: a rig for each channel of the registry.

The rig of the channel ``chat`` is ``RIG`` in ``tests/unit/channels/chat_rig.py``. It states the meaning of the
provider's answers a second time on purpose: a channel must not be judged by its own tables.
"""

import importlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from router.channels import REGISTRY, Channel
from router.model import Conversation, Destination, Outcome
from tests.unit.channels.talk import alert, conversation, destination
from tests.world.fake_anything import Speak, after_request, http, smtp

FOLDER = Path(__file__).parent
Meaning = type[Outcome]
"""The outcome of an answer that has the same meaning for every message, plain ones included."""
REDIRECTS, OUTAGES = range(300, 400), range(500, 600)
# No table has these statuses.
UNKNOWN_STATUSES = (402, 405, 406, 409, 418, 451, 499, 600, 999)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the provider, and what it means. A code of the channel's table is the last word of the name."""

    name: str
    speak: Speak
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class MarkupSample:
    """A function of the channel that draws the provider's markup, and a text with the HTML that it becomes."""

    draw: Callable[[str], Markup]
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class ImportSample:
    """One item of the list that Alertmanager has for this kind of receiver, and the destination that it becomes."""

    config: Mapping[str, Any]
    options: Mapping[str, Any]
    """The options in routes.yaml, for a receiver of the name ``team0``."""
    sends_resolved: bool = True
    """Alertmanager's default of ``send_resolved``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRig:
    """Everything that the shared tests ask about one channel."""

    make: Callable[[Any, float], Channel]
    """Makes the channel. Arguments: its settings, and the seconds that it waits for an answer."""
    settings: Callable[[str], Mapping[str, Any]]
    """The section of ``channels:``, for a provider at this ``host:port``."""
    options: Callable[[str], Mapping[str, Any]]
    """The options of a destination, for a provider at this ``host:port``."""
    secrets: tuple[str, ...]
    """The secrets in settings and options."""
    fake: Callable[[], AbstractAsyncContextManager[Any]]
    """The fake provider of ``tests/world/``."""
    answers: tuple[Answer, ...]
    """At least one for every code in the channel's own tables."""
    success: Speak
    """The provider takes a message."""
    conversations: tuple[Conversation, ...]
    """A first message; if an update is another request, an update as well."""
    codes: tuple[Collection[int], ...] = ()
    """The sets of codes in the channel's own table that no :class:`router.channels.http.StatusTable` has."""
    speaks_smtp: bool = False
    """The provider speaks SMTP over TLS. False: HTTP."""
    succeeds_by_status: bool = False
    """A success needs no body."""
    waits_in_a_thread: bool = False
    """The channel waits for an answer in a thread, by the real time."""
    drops_pages: bool = False
    """The provider's SDK drops an answer that is not JSON."""
    links_bare_addresses: bool = False
    """The provider makes a link of an address without markup."""
    markup: MarkupSample | None = None
    """None: the provider has no markup, or the preview draws none."""
    secret_texts: tuple[str, ...] = ()
    """Texts that ``secret_pattern`` of the spec has to mask, without ``https://``. The secret follows the last ``/``."""
    importing: ImportSample | None = None
    """None: Alertmanager has no such receiver."""

    @property
    def patience(self) -> float:
        """Seconds that the channel waits for an answer: few, if a test can't make them pass."""
        return 0.2 if self.waits_in_a_thread else 10

    def after_message(self, then: Speak) -> Speak:
        """Return what a provider does that receives the whole message first."""
        return smtp("BODY", then) if self.speaks_smtp else after_request(then)


class MissingRigError(LookupError):
    """The registry has a channel, and the tests have no rig for it."""


def rig_of(name: str) -> ChannelRig:
    """Return the rig of a channel. :raises MissingRigError: its file is missing"""
    if not (FOLDER / f"{name}_rig.py").exists():
        raise MissingRigError(
            f"the channel {name!r} has no rig; write tests/unit/channels/{name}_rig.py with "
            f"RIG = ChannelRig(…), as tests/unit/channels/teams_rig.py does"
        )
    rig = importlib.import_module(f"tests.unit.channels.{name}_rig").RIG
    assert isinstance(rig, ChannelRig)
    return rig


def channels_with(has: Callable[[ChannelRig], object]) -> list[str]:
    """Return the names of the channels whose rig has something; also of those without a rig, whose tests then fail."""

    def fits(name: str) -> bool:
        try:
            return bool(has(rig_of(name)))
        except MissingRigError:
            return True

    return [name for name in sorted(REGISTRY) if fits(name)]


def channel_at(name: str, address: str) -> tuple[Channel, Destination]:
    """Return a channel and a destination of its rig. :param address: of the provider, ``host:port``"""
    rig, spec = rig_of(name), REGISTRY[name]
    channel = rig.make(spec.settings.model_validate(rig.settings(address)), 1.0)
    return channel, destination(name, spec.options.model_validate(rig.options(address)))


def echo(secrets: Iterable[str], **more: Any) -> bytes:
    """Return an answer that quotes everything that was sent to it, which no provider should do."""
    text = f"no, {' '.join(secrets)}"
    return json.dumps({"message": text, "errors": [text], "needed": text, **more}).encode()


def by_status(secrets: Iterable[str], meanings: Mapping[Meaning, Iterable[int]]) -> Iterator[Answer]:
    """Yield an answer for each HTTP status."""
    secrets = tuple(secrets)
    for meaning, statuses in meanings.items():
        for status in statuses:
            yield Answer(f"http {status}", http(status, echo(secrets), Location="/elsewhere"), meaning)


def first_and_update(**remote: Any) -> tuple[Conversation, ...]:
    """Return a conversation before its first message, and one before an update.

    :param remote: what the channel keeps of the first message
    """
    return conversation(), conversation(alert(resolved=True), version=2, remote=remote)
