"""More is due at a destination than its rate allows: one message names all of it and is kept up to date."""

import asyncio
import re
from collections.abc import Iterable

import aiohttp

from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import until_failed
from tests.world.conftest import World
from tests.world.fake_slack import Posted, Want, error

TIMES = "\N{MULTIPLICATION SIGN}"


async def warnings(world: World, first: int, count: int, status: str = "firing") -> None:
    for number in range(first, first + count):
        assert await world.post(f"Down{number}", "warning", status) == 200
    world.clock.advance(2 * SECOND)  # past the inhibit wait


async def hosts(world: World, numbers: Iterable[int], status: str = "firing", domain: str = "") -> None:
    """Post a critical for each of these hosts, each in its own group."""
    assert world.service is not None
    async with aiohttp.ClientSession() as session:

        async def post(number: int) -> int:
            group = {"alertname": "HostDown", "instance": f"n{number}{domain}"}
            labels = {**group, "cluster": f"eu-{number}", "severity": "critical"}
            body = {
                "version": "4", "groupKey": f"{number}", "receiver": "r", "status": status, "groupLabels": group,
                "externalURL": "http://alertmanager.example",
                "alerts": [{"status": status, "labels": labels, "startsAt": "2026-11-23T11:00:00Z"}],
            }  # fmt: skip
            async with session.post(f"{url}/webhook", json=body) as answer:
                return answer.status

        url = world.service.url
        several = list(numbers)
        for first in range(0, len(several), 50):
            answers = await asyncio.gather(*map(post, several[first : first + 50]))
            assert set(answers) == {200}


async def settled(world: World, seconds: int = 1_000) -> None:
    """Wait until all that is due is sent."""
    for _ in range(seconds):
        await world.at_rest()
        if not (await world.fates()).get("pending"):
            return
        world.clock.advance(SECOND)
    raise AssertionError(f"still pending: {await world.ledger()}")


def words_of(world: World, channel: str) -> list[str]:
    """Return the text of each message and reply in a channel."""
    return [text for each in world.slack.in_channel(channel) for text in (each.shown, *each.replies)]


def mails_of(world: World) -> list[str]:
    return [
        f"{mail.subject}\n{mail.text}\n{mail.attached}"
        for mail in world.smtp.mails
        if "oncall" in mail.recipients[0]
    ]


def named(texts: Iterable[str]) -> set[int]:
    """Return the hosts that a text names."""
    return {int(number) for text in texts for number in re.findall(r"\bn(\d+)\b", text)}


def sent_as_resolved(texts: Iterable[str]) -> set[int]:
    """Return the hosts in a message of an end, or in the part of a storm's message about ends."""
    ends = []
    for text in texts:
        _, separator, after = text.replace("\r", "").partition(" resolved:\n")
        ends.append(after.partition("\n\n")[0] if separator else "")
        if re.match(r"✅ Resolved|\[RESOLVED\]", text):
            ends.append(text)
    return named(ends)


def storm_of(world: World, channel: str) -> Posted:
    (posted,) = (each for each in world.slack.in_channel(channel) if "torm" in each.text)
    return posted


async def until_delivered_to(world: World, destination: str, count: int) -> None:
    """Wait until so many changes are delivered to the destination."""
    assert world.service is not None
    store = world.service.store
    while (await store.pages.status())["by_destination"].get(destination, {}).get("delivered", 0) < count:
        await store.ready()


async def test_250_criticals_and_the_ends_of_125_are_all_named(world: World) -> None:
    await world.start()
    await hosts(world, range(250))
    await settled(world)
    assert named(words_of(world, "C0CRITICAL")) == named(mails_of(world)) == set(range(250))
    assert f"HostDown {TIMES} " in storm_of(world, "C0CRITICAL").text
    before = len(world.slack.messages), len(world.smtp.mails)
    await hosts(world, range(125), "resolved")
    await settled(world)
    storm = storm_of(world, "C0CRITICAL")
    assert storm.shown.count("n124") == 0
    # How many had a message of their own before the storm began depends on how fast they came.
    assert re.match(r"\[critical\] Alert storm: \d+ groups firing, \d+ resolved", storm.text)
    assert sent_as_resolved(words_of(world, "C0CRITICAL")) == set(range(125))
    assert sent_as_resolved(mails_of(world)) == set(range(125))
    assert len(world.slack.messages) == before[0]
    assert f"resolved: HostDown {TIMES} " in world.smtp.mails[-1].subject
    # One mail for the storm, and one for each that had a mail of its own.
    single = sum("FIRING:1" in mail.subject for mail in world.smtp.mails)
    assert len(world.smtp.mails) <= before[1] + 2 + single
    await hosts(world, range(125, 250), "resolved")
    await settled(world)
    assert storm_of(world, "C0CRITICAL").text.startswith("[critical] Storm over: ")
    assert world.smtp.mails[-1].subject.startswith("[critical] Storm over: ")
    assert sent_as_resolved(words_of(world, "C0CRITICAL")) == set(range(250))
    assert sent_as_resolved(mails_of(world)) == set(range(250))
    assert len(world.slack.messages) == before[0]
    assert await world.fates() == {"delivered": 3 * 500}
    assert len(world.pagerduty.accepted) == 500


async def test_a_thousand_groups_are_all_named_within_the_limits_of_providers(world: World) -> None:
    await world.start(lambda rules: re.sub(r" *- pagerduty: .*\n", "", rules))  # which merges nothing
    await hosts(world, range(1_000), domain=".eu-west-1.example.com:9100")
    await settled(world)
    assert named(words_of(world, "C0CRITICAL")) == named(mails_of(world)) == set(range(1_000))
    assert f"HostDown {TIMES} " in storm_of(world, "C0CRITICAL").text
    assert storm_of(world, "C0CRITICAL").broadcasts > 0
    # The fake refuses what Slack refuses: too many blocks, and too many characters.
    assert not [body for _, body in world.slack.calls if world.slack.refuses(body)]
    assert max(len(mail.raw) for mail in world.smtp.mails) < 200_000
    assert len(world.slack.calls) < 50
    assert len(world.smtp.mails) < 5
    assert await world.fates() == {"delivered": 2_000}


async def test_a_storms_message_is_updated_as_long_as_a_part_of_it_fires(world: World) -> None:
    await world.start()
    await warnings(world, 0, 70)
    await world.slack.until(lambda: bool(world.slack.messages))
    first = tuple(f"Down{number}" for number in range(70))
    subject = "[warning] Alert storm: 70 groups firing: Down0, Down1, Down2 and 67 more"
    world.slack.expect(
        Want("C0WARNINGS", (subject, "70 new:", "[warning] Down0, Down1", "/#/alerts", *first))
    )
    await until_delivered_to(world, "slack:C0WARNINGS", 70)
    world.clock.advance(HOUR)  # the storm stands, though nothing is due
    await world.at_rest()
    assert world.slack.only.edits == 0
    await warnings(world, 70, 2)
    await until_delivered_to(world, "slack:C0WARNINGS", 72)
    (reply,) = world.slack.only.replies
    assert "2 new:\n- [warning] Down70, Down71" in reply
    assert world.slack.only.broadcasts == 1
    await warnings(world, 0, 71, "resolved")
    world.clock.advance(5 * SECOND)
    await until_delivered_to(world, "slack:C0WARNINGS", 72 + 71)
    assert world.slack.only.text == "[warning] Alert storm: 1 group firing, 71 resolved: Down71"
    assert "Firing:\n- [warning] Down71" in world.slack.only.shown
    assert world.slack.only.broadcasts == 1  # ends disturb no reader
    await warnings(world, 71, 1, "resolved")
    world.clock.advance(5 * SECOND)
    await until_delivered_to(world, "slack:C0WARNINGS", 2 * 72)
    assert world.slack.only.text == "[warning] Storm over: 72 groups resolved"
    assert world.slack.only.color == "#2eb67d"
    await warnings(world, 99, 1)
    await world.slack.until(lambda: len(world.slack.messages) == 2)


async def test_a_storms_message_that_slack_refuses_gives_way_to_single_ones(world: World) -> None:
    await world.start()
    # What can't be rendered is sent plain in the same attempt: both are refused.
    world.slack.fail(error("invalid_blocks"), error("invalid_blocks"))
    await warnings(world, 0, 70)
    await world.slack.until(lambda: bool(world.slack.messages))
    assert not any("storm" in each.shown for each in world.slack.messages.values())


async def test_news_of_a_refused_storm_reply_go_out_in_single_messages(world: World) -> None:
    await world.start()
    await warnings(world, 0, 70)
    await until_delivered_to(world, "slack:C0WARNINGS", 70)
    world.slack.fail(*[error("invalid_blocks", "chat.postMessage")] * 2)
    await warnings(world, 70, 1)
    world.clock.advance(5 * SECOND)
    await settled(world)
    assert [each.text for each in world.slack.in_channel("C0WARNINGS")][1:] == ["🟠 WARNING: Down70 on eu-1"]


async def test_a_storms_message_that_slack_takes_as_text_alone_names_all(world: World) -> None:
    await world.start()
    world.slack.fail(error("invalid_attachments"))
    await hosts(world, range(250))
    await settled(world)
    assert named(words_of(world, "C0CRITICAL")) == set(range(250))


async def test_a_deleted_storm_message_is_posted_again_with_what_fires(world: World) -> None:
    await world.start()
    await warnings(world, 0, 70)
    await until_delivered_to(world, "slack:C0WARNINGS", 70)
    world.slack.delete(world.slack.only)
    await warnings(world, 70, 2)
    world.clock.advance(5 * SECOND)
    await settled(world)
    shown = "\n".join(words_of(world, "C0WARNINGS"))
    assert all(f"Down{number}" in shown for number in range(72))


async def test_what_is_muted_by_the_time_it_is_due_is_no_storm(world: World) -> None:
    await world.start(lambda rules: rules.replace("equal: [alertname, cluster]", "equal: [cluster]"))
    for number in range(70):
        assert await world.post(f"Down{number}", "warning") == 200
    await world.post("Site", "critical")
    await world.post("Full", "warning", cluster="eu-2")
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    world.slack.expect(Want("C0CRITICAL", ("Site",)), Want("C0WARNINGS", ("Full",)))
    assert not any("storm" in each.shown for each in world.slack.messages.values())
    fates = (await world.ledger())["by_destination"]["slack:C0WARNINGS"]
    assert fates["inhibited"] == 70


async def fates(world: World, destination: str, wanted: dict[str, int]) -> None:
    """Return the fates of the destination's changes."""
    while (await world.ledger())["by_destination"].get(destination) != wanted:
        assert world.service is not None
        await world.service.store.ready()


async def test_conversations_of_a_storm_are_given_up_each_after_its_own_time(world: World) -> None:
    await world.start(lambda rules: rules.replace("slack: {token", "slack: {give_up_after: 3h, token"))
    world.slack.trouble["C0WARNINGS"] = "service_unavailable"
    await warnings(world, 0, 70)
    await until_failed(world, "slack:C0WARNINGS")
    world.clock.advance(2 * HOUR)
    await warnings(world, 70, 1)
    world.clock.advance(2 * HOUR)
    await fates(world, "slack:C0WARNINGS", {"dead": 70, "pending": 1})
    del world.slack.trouble["C0WARNINGS"]
    world.clock.advance(HOUR)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Down70",)))
    await fates(world, "slack:C0WARNINGS", {"dead": 70, "delivered": 1})


async def test_a_storm_by_mail_is_a_thread_of_mails_that_name_all(world: World) -> None:
    await world.start()
    await warnings(world, 0, 130)
    await world.smtp.until(lambda: bool(world.smtp.mails))
    first = world.smtp.only
    assert first.subject == "[warning] Alert storm: 130 groups firing: Down0, Down1, Down2 and 127 more"
    assert all(f"Down{number}" in first.text and f"Down{number}" in first.html for number in range(130))
    await until_delivered_to(world, "email:team@example.com", 130)
    world.clock.advance(HOUR)
    await world.at_rest()
    assert len(world.smtp.mails) == 1
    await warnings(world, 0, 130, "resolved")
    world.clock.advance(5 * MINUTE)
    await until_delivered_to(world, "email:team@example.com", 260)
    # One goes immediately, with the ends until then; the next one five minutes later.
    update, last = world.smtp.mails[1:]
    assert last.subject.startswith("[warning] Storm over: 130 groups resolved; the last: Down")
    ended = set(re.findall(r"\bDown\d+\b", update.text.partition("Firing:")[0] + last.text))
    assert ended == {f"Down{number}" for number in range(130)}
    assert {update.message["In-Reply-To"], last.message["In-Reply-To"]} == {first.id}
