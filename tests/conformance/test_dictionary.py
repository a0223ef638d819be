"""Bodies and messages are unchanged, whichever dictionary they were packed with."""

import json
from pathlib import Path

from router.config import loads
from router.deliver.kept_message import packed_message
from router.model import DAY, Alert, Delivered, Message, Millis, Status, Webhook
from router.packed import MAX_DICTIONARIES, LearnedDictionary
from router.store import Adoption, ClaimedDelivery, Search, Store
from router.store.backend import Backend, open_backend
from router.store.dictionary import LearningPacker, add_dictionary, newest

NOW: Millis = 1_795_435_200_000
POLICY = loads(
    "channels: {slack: {token: xoxb-1}}\nreceivers: {team: [{slack: {channel: C0TEAM}}]}\nroute: {receiver: team}\n",
    name="routes.yaml", folder=Path(), environ={}, now=NOW,
).policy  # fmt: skip
(TEAM,) = POLICY.destinations.values()


def body_of(number: int) -> bytes:
    return json.dumps(
        {"groupKey": f"Down{number}", "alerts": [{"summary": "It is down, look at it"}]}
    ).encode()


def message_of(number: int) -> Message:
    return Message(
        "slack", {"channel": "C0TEAM", "text": f"Down{number} is down, look at it", "plain": "Down"}
    )


async def play(store: Store, first: int, count: int, now: Millis) -> dict[int, int]:
    """Accept webhooks and record their deliveries. Return the numbers of the deliveries."""
    numbers = {}
    for number in range(first, first + count):
        alert = Alert("f", {"alertname": f"Down{number}"}, {}, Status.FIRING, NOW)
        group = Webhook("r", f"g{number}", {"alertname": f"Down{number}"}, "http://am", 0, (alert,))
        await store.accept(group, "default", body_of(number), POLICY, now)
        work = await store.claim(TEAM, POLICY, now)
        assert isinstance(work, ClaimedDelivery)
        await store.record(work, Delivered(), POLICY, now, now, packed_message(message_of(number), 1))
        numbers[work.delivery] = number
    return numbers


async def assert_readable(store: Store, numbers: dict[int, int]) -> None:
    for delivery, number in numbers.items():
        message = await store.pages.message(delivery)
        assert message is not None
        assert message["body"] == message_of(number).body
    page = await store.pages.find_alerts(Search(), limit=500)
    found = []
    for alert in page.alerts:
        story = await store.pages.story(alert["id"])
        assert story is not None
        found.append(await store.pages.body(story.events[0]["webhook"]))
    assert sorted(each or b"" for each in found) == sorted(map(body_of, numbers.values()))


async def test_texts_are_unchanged_before_and_after_learning(url: str) -> None:
    store = await Store.open(url)
    await store.start(NOW)
    await store.rules.adopt(Adoption(POLICY), NOW)
    await store.rules.judge_all(POLICY, NOW)
    numbers = await play(store, 0, 51, NOW)
    await assert_readable(store, numbers)
    await store.close()
    store = await Store.open(url)
    numbers |= await play(store, 51, 5, NOW + DAY)
    await assert_readable(store, numbers)
    numbers |= await play(store, 56, 51, NOW + 40 * DAY)  # a second one
    await assert_readable(store, numbers)
    await store.close()
    database = open_backend(url)
    with database.open_read_only() as connection:
        last = newest(connection)
    database.close()
    assert last is not None
    assert last[0].number == 2


def packed(packing: LearningPacker, count: int = 100) -> int:
    """How many bytes the last of so many texts takes."""
    for number in range(count):
        packing.pack(body_of(number))
        size = len(packing.pack(packed_message(message_of(number), 1)))
    return size


def test_a_dictionary_is_due_after_some_texts_and_each_month() -> None:
    packing = LearningPacker()
    packed(packing, 40)
    assert packing.next_dictionary(NOW) is None
    before = packed(packing)
    words = packing.next_dictionary(NOW)
    assert words is not None
    packing.use((LearnedDictionary(1, words), NOW))
    assert packed(packing) < before / 2
    assert packing.next_dictionary(NOW + 29 * DAY) is None
    assert packing.next_dictionary(NOW + 30 * DAY) is not None


def test_there_are_no_more_dictionaries_than_numbers(database: Backend) -> None:
    connection = database.open_writer()
    with connection.begin():
        learned = [
            add_dictionary(connection, b"words", NOW + month * 30 * DAY)
            for month in range(MAX_DICTIONARIES + 1)
        ]
    connection.close()
    numbers = [each[0].number for each in learned if each is not None]
    assert numbers == list(range(1, MAX_DICTIONARIES + 1))
    assert learned[-1] is None


def test_a_replica_uses_what_another_one_has_learned_lately(database: Backend) -> None:
    connection = database.open_writer()
    with connection.begin():
        first = add_dictionary(connection, b"words", NOW)
        again = add_dictionary(connection, b"other words", NOW + DAY)
    connection.close()
    assert again == first
