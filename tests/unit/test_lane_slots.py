"""How many more deliveries of a lane may begin."""

from router.deliver.lane_slots import LaneSlots


def slots_with(deliveries: int) -> LaneSlots:
    """Return slots with some deliveries under way, numbered from 0."""
    slots = LaneSlots()
    slots.take(deliveries)
    for number in range(deliveries):
        slots.began(number, 0)
        slots.first_call_counted(number)
    return slots


def test_a_sent_delivery_leaves_its_slot_to_the_next_one() -> None:
    slots = slots_with(2)
    assert slots.free(2, one_at_a_time=False) == 0
    slots.sent(0)
    assert slots.free(2, one_at_a_time=False) == 1


def test_unrecorded_deliveries_are_bounded() -> None:
    slots = slots_with(4)
    for number in range(4):
        slots.sent(number)
    assert slots.free(1, one_at_a_time=False) == 0
    slots.ended(0)
    assert slots.free(1, one_at_a_time=False) == 1


def test_one_at_a_time_waits_until_the_last_one_is_recorded() -> None:
    slots = slots_with(1)
    slots.sent(0)
    assert slots.free(5, one_at_a_time=True) == 0
    slots.ended(0)
    assert slots.free(5, one_at_a_time=True) == 1
    assert slots.is_idle


def test_a_lowered_limit_allows_none_until_enough_have_ended() -> None:
    slots = slots_with(3)
    assert slots.free(1, one_at_a_time=False) == -2


def test_unused_slots_do_not_count_in_the_rate() -> None:
    slots = LaneSlots()
    slots.take(3)
    slots.began("one", 0)
    slots.give_back(2)
    assert slots.uncounted == 1
    assert slots.first_call_counted("one")
    assert slots.uncounted == 0
    assert not slots.first_call_counted("one")
    assert slots.uncounted == 0


def test_the_oldest_delivery_says_how_long_a_lane_is_busy() -> None:
    slots = LaneSlots()
    assert slots.busy_for(10) == 0
    slots.take(2)
    slots.began("one", 10)
    slots.began("two", 13)
    assert slots.busy_for(15) == 5
    slots.ended("one")
    assert slots.busy_for(15) == 2
