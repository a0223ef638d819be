"""Every answer of a provider becomes an outcome of the right kind, in few words and without a secret."""

import asyncio
import importlib
import pkgutil
import ssl
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Protocol

import pytest

from router import channels, logs
from router.channels import REGISTRY
from router.channels.http import StatusTable
from router.model import Broken, Conversation, Delivered, Outcome, Rejected, Retry
from tests.unit.channels.rigs import ChannelRig, channels_with, echo, rig_of
from tests.unit.channels.talk import TEMPLATES, destination
from tests.world.fake_anything import (
    Anything,
    Speak,
    after_request,
    close,
    drip,
    fall_silent,
    http,
    say,
    smtp,
)

_HUGE = 2**22


class MakeAttempt(Protocol):
    async def __call__(
        self, speak: Speak, talk: Conversation | None = None, *, patience: float = 10, at: str | None = None
    ) -> Outcome: ...


@pytest.fixture
async def provider(rig: ChannelRig, request: pytest.FixtureRequest) -> AsyncIterator[Anything]:
    tls: ssl.SSLContext | None = None
    if rig.speaks_smtp:
        request.getfixturevalue("trusted")
        tls = request.getfixturevalue("tls")
    async with Anything(tls) as provider:
        yield provider


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str], logs_restored: None) -> pytest.CaptureFixture[str]:
    """The logs of ``serve --log-level debug``."""
    logs.configure("json", "debug")
    return capsys


@pytest.fixture
def attempt(
    name: str, rig: ChannelRig, provider: Anything, logged: pytest.CaptureFixture[str]
) -> MakeAttempt:
    """Return a function that sends one message and looks for secrets in the outcome, the logs and the output."""

    async def made(
        speak: Speak, talk: Conversation | None = None, *, patience: float = 10, at: str | None = None
    ) -> Outcome:
        provider.speak, address, kind = speak, at or provider.address, REGISTRY[name]
        talk = talk or rig.conversations[0]
        channel = rig.make(kind.settings.model_validate(rig.settings(address)), patience)
        place = destination(name, kind.options.model_validate(rig.options(address)))
        try:
            message = channel.render(place, talk, TEMPLATES)
            outcome = await channel.send(place, talk, message)
        finally:
            await channel.close()
        assert not improprieties(outcome, "".join(logged.readouterr()), rig.secrets)
        return outcome

    return made


def improprieties(outcome: Outcome, heard: str, secrets: tuple[str, ...]) -> list[str]:
    found = [f"shows {secret}" for secret in secrets if secret in repr(outcome) + heard]
    if not isinstance(outcome, Delivered):
        reason = outcome.reason
        found += [f"says too much: {reason}"] * (len(reason) > 120)
        found += [f"quotes too much: {outcome.words}"] * (len(outcome.words) > 500)
        found += [f"says nothing fit to be shown: {reason!r}"] * (
            not reason.strip() or not outcome.shown.isprintable()
        )
    return found


def odd(secrets: tuple[str, ...]) -> Iterator[tuple[str, Speak, int]]:
    """Yield answers that no provider should give: a name, the answer, and its status (0: none)."""
    whole = echo(secrets)
    for status in (200, 503):
        bodies: Mapping[str, Speak] = {
            "empty": http(status),
            "no text": http(status, b"\xff\xfe\x00{"),
            "no json": http(status, f"<html>{secrets}".encode(), "text/html"),
            "no type": http(status, whole, ""),
            "another type": http(status, whole, "image/png"),
            "unknown charset": http(status, whole, "application/json; charset=nonsense"),
            "secrets where they are not looked for": http(
                status, whole, reason=secrets[0], Retry_After=secrets[0], Location=f"/{secrets[0]}",
                X_RateLimit_Remaining=secrets[0], X_RateLimit_Reset_After=secrets[0],
            ),
            "secrets as everything": http(
                status, echo(secrets, id=secrets[0], code=secrets[0], retry_after=secrets[0], ok=secrets[0])
            ),
            "a yes and no more": http(status, b'{"ok": true, "status": "success"}'),
            "another encoding": http(status, whole, Content_Encoding="gzip"),
            "huge": http(status, b"x" * _HUGE),
            "huge and json": http(status, echo(["x" * _HUGE])),
            "deep": http(status, b"[" * 100_000),
            "half": http(status, whole, Content_Length="100000"),
            "a header without end": http(status, whole, X_Any="x" * 100_000),
            **{raw.decode(): http(status, raw) for raw in (b"null", b"7", b'"text"', b"[]", b"{}", b"[7]", b"NaN")},
        }  # fmt: skip
        yield from ((f"{status}, {what}", speak, status) for what, speak in bodies.items())
    for raw in (b"\x00\xff\xfe what\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"220 any\r\n", b"x" * _HUGE):
        yield repr(raw[:20]), after_request(say(raw)), 0


def odd_mail(secrets: tuple[str, ...]) -> Iterator[tuple[str, Speak]]:
    for command in ("GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "BODY"):
        for raw in (
            b"\x00\xff\xfe what",
            b"what",
            b"",
            b"1",
            b"250",
            b"x" * _HUGE,
            f"abc {secrets}".encode(),
        ):
            # At these commands, 250 is a success (at EHLO, one that offers no login).
            if raw != b"250" or command not in {"EHLO", "MAIL", "RCPT", "BODY"}:
                yield f"{command}, {raw[:20]!r}", smtp(command, raw)


def status_tables(name: str) -> list[StatusTable]:
    """Return the tables in the modules of a channel: in ``chat`` and its neighbours ``chat_…``."""
    (main,) = REGISTRY[name].options.__module__.split(".")[2:3]
    stems = (each.name for each in pkgutil.iter_modules(channels.__path__))
    modules = (
        importlib.import_module(f"router.channels.{stem}")
        for stem in stems
        if (stem == main or stem.startswith(f"{main}_")) and not _belongs_to_another(stem, main)
    )
    found = (value for module in modules for value in vars(module).values())
    return list({id(value): value for value in found if isinstance(value, StatusTable)}.values())


def _belongs_to_another(stem: str, main: str) -> bool:
    """Return whether a module is of a channel with a longer name, as ``slack_webhook`` beside ``slack``."""
    return any(len(each) > len(main) and (stem == each or stem.startswith(f"{each}_")) for each in REGISTRY)


def code_sets(name: str) -> list[Collection[int]]:
    """Return the sets of codes in the tables of a channel, and those of its rig."""
    tables = status_tables(name)
    return [
        *(each for table in tables for each in (table.transient, table.broken, table.rejected)),
        *rig_of(name).codes,
    ]


@pytest.mark.parametrize(
    "name", sorted({*channels_with(lambda rig: rig.codes), *filter(status_tables, REGISTRY)})
)
def test_a_code_stands_in_one_table_and_is_covered(name: str) -> None:
    codes = [code for each in code_sets(name) for code in each]
    assert len(codes) == len(set(codes))
    answers = (answer.name.split()[-1] for answer in rig_of(name).answers)
    uncovered = set(codes) - {int(word) for word in answers if word.isdecimal()}
    assert not uncovered, f"give {name}_rig.py answers with these codes: {sorted(uncovered)}"


async def test_an_answer_means_what_its_table_says(rig: ChannelRig, attempt: MakeAttempt) -> None:
    """For a first message and for an update; a code in no table is tried again."""
    wrong = []
    for answer in rig.answers:
        for talk in rig.conversations:
            outcome = await attempt(answer.speak, talk)
            if not isinstance(outcome, answer.meaning):
                wrong.append(
                    f"{answer.name}, version {talk.version}: {outcome}, not {answer.meaning.__name__}"
                )
    assert not wrong, "\n".join(wrong)


async def test_no_odd_answer_ends_a_message_or_shows_a_secret(rig: ChannelRig, attempt: MakeAttempt) -> None:
    """A success with an unreadable body counts only if the channel succeeds by the status alone."""
    wrong = []
    if rig.speaks_smtp:
        for name, speak in odd_mail(rig.secrets):
            if not isinstance(outcome := await attempt(speak), Retry):
                wrong.append(f"{name}: {outcome}")
    else:
        for name, speak, status in odd(rig.secrets):
            taken = rig.succeeds_by_status and status == 200
            if not isinstance(outcome := await attempt(speak), Retry | Delivered if taken else Retry):
                wrong.append(f"{name}: {outcome}")
    assert not wrong, "\n".join(wrong)


async def test_what_a_provider_says_is_kept_for_people(rig: ChannelRig, attempt: MakeAttempt) -> None:
    page = b"<html><title>Oops</title><p>Ask <b>Bob</b>, id AB2</html>"
    data = b'{"ok": false, "error": "Ask Bob, id AB2", "message": "Ask Bob, id AB2"}'
    said = {"Ask Bob, id AB2": http(500, data), "Ask Bob , id AB2": http(502, page, "text/html")}
    if rig.speaks_smtp:
        said = {"Ask Bob, id AB2": smtp("MAIL", b"451-4.3.0 Ask Bob,\r\n451 id AB2")}
    for words, speak in list(said.items())[: 1 if rig.drops_pages else 2]:
        outcome = await attempt(speak)
        assert isinstance(outcome, Retry)
        assert words in outcome.words
        assert "id AB2" not in outcome.reason


async def test_a_refused_connection_is_not_ambiguous(
    rig: ChannelRig, attempt: MakeAttempt, unused_tcp_port: int
) -> None:
    for talk in rig.conversations:
        outcome = await attempt(close, talk, at=f"127.0.0.1:{unused_tcp_port}")
        assert isinstance(outcome, Retry)
        assert not outcome.ambiguous


async def test_a_closed_or_silent_connection_is_tried_again(rig: ChannelRig, attempt: MakeAttempt) -> None:
    for talk in rig.conversations:
        assert isinstance(await attempt(close, talk), Retry)
        assert isinstance(await attempt(fall_silent, talk, patience=rig.patience), Retry)


async def test_a_message_without_an_answer_is_ambiguous(rig: ChannelRig, attempt: MakeAttempt) -> None:
    for talk in rig.conversations:
        for then in (close, fall_silent):
            outcome = await attempt(rig.after_message(then), talk, patience=rig.patience)
            assert isinstance(outcome, Retry)
            assert outcome.ambiguous


async def test_an_answer_that_drips_has_an_end(rig: ChannelRig, attempt: MakeAttempt) -> None:
    """Every pause is shorter than the timeout; the attempt still ends, and closes the connection."""
    for start in (b"HTTP/1.1 200 OK\r\nX-Any: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"):
        gone = asyncio.Event()
        drips = smtp("GREETING", drip(b"220-", gone)) if rig.speaks_smtp else after_request(drip(start, gone))
        outcome = await attempt(drips, patience=0.2)  # real time: what drips outlasts any
        assert isinstance(outcome, Retry | Delivered if rig.succeeds_by_status else Retry)
        await gone.wait()


@pytest.mark.parametrize(
    ("outcome", "heard", "found"),
    [
        (Delivered({"ts": "a-secret"}), "", "shows a-secret"),
        (Broken("no a-secret"), "", "shows a-secret"),
        (Retry("http 500"), "posting to a-secret", "shows a-secret"),
        (Retry("x" * 121), "", "says too much"),
        (Retry("http 500", words="x" * 501), "", "quotes too much"),
        (Retry("http 500", words="a-secret"), "", "shows a-secret"),
        (Retry("http 500", words="no\nway"), "", "says nothing fit"),
        (Rejected("no\nway"), "", "says nothing fit"),
        (Rejected(""), "", "says nothing fit"),
    ],
)
def test_improper_outcomes_are_found(outcome: Outcome, heard: str, found: str) -> None:
    (problem,) = improprieties(outcome, heard, ("a-secret",))
    assert problem.startswith(found)
    assert improprieties(Retry("http 500"), "", ("a-secret",)) == []
