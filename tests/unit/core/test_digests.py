"""Digests: which of their alerts are new since the last one, when held alerts open, and who sent them."""

from dataclasses import replace

import pytest

from router.core.claimed_delivery import ClaimedDelivery
from router.decide import Route
from router.model import DAY, HOUR, MINUTE, Delivered, DigestLine, DigestView, Rejected, Status
from tests.unit.core.memory import at_once
from tests.unit.core.world import DAILY, MONDAY, NIGHT, POLICY, World, alert

SLOT = MONDAY + DAY + 8 * HOUR


@pytest.fixture
def world(either_world: World) -> World:
    return either_world


def begin(world: World, at: int) -> tuple[ClaimedDelivery, DigestView]:
    """Claim the digest at this time."""
    world.now = at
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    return work, work.conversation.digest


def sent(world: World, at: int) -> DigestView:
    """Send the digest at this time, and return what it reports."""
    work, view = begin(world, at)
    world.finish(work, Delivered())
    return view


def new(lines: tuple[DigestLine, ...]) -> dict[str, bool]:
    return {line.alert.fingerprint: line.is_new for line in lines}


def test_an_alert_is_new_in_its_first_digest_only(world: World) -> None:
    world.post(alert("Cert", "info"))
    assert new(sent(world, SLOT).firing) == {"Cert-info": True}
    world.post(alert("Cert", "info"), alert("Disk", "info", starts_at=SLOT))
    assert new(sent(world, SLOT + DAY).firing) == {"Cert-info": False, "Disk-info": True}


def test_the_start_that_a_sender_gives_does_not_matter(world: World) -> None:
    """A rule that is loaded late, or a clock that is wrong: the start is before the last digest."""
    world.post(alert("Cert", "info"))
    sent(world, SLOT)
    world.post(alert("Late", "info", starts_at=MONDAY))
    assert new(sent(world, SLOT + DAY).firing) == {"Cert-info": False, "Late-info": True}


def test_an_alert_that_was_reported_as_firing_is_not_new_when_it_flaps(world: World) -> None:
    world.post(alert("Cert", "info"))
    sent(world, SLOT)
    world.now += HOUR
    world.post(alert("Cert", "info", Status.RESOLVED))
    world.now += HOUR
    world.post(alert("Cert", "info", starts_at=world.now))
    assert new(sent(world, SLOT + DAY).firing) == {"Cert-info": False}


def test_an_alert_that_was_reported_as_ended_is_new_when_it_fires_again(world: World) -> None:
    world.post(alert("Cert", "info"))
    world.post(alert("Cert", "info", Status.RESOLVED))
    assert new(sent(world, SLOT).ended) == {"Cert-info": True}
    world.now += HOUR
    world.post(alert("Cert", "info", starts_at=world.now))
    assert new(sent(world, SLOT + DAY).firing) == {"Cert-info": True}


def test_the_end_of_a_reported_alert_is_not_new(world: World) -> None:
    world.post(alert("Cert", "info"))
    sent(world, SLOT)
    world.post(alert("Cert", "info", Status.RESOLVED))
    assert new(sent(world, SLOT + DAY).ended) == {"Cert-info": False}


def test_an_alert_that_was_inhibited_at_the_last_digest_is_new(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.post(alert("Down", "info"), alert("Cert", "info"))
    assert new(sent(world, SLOT).firing) == {"Cert-info": True}
    world.post(alert("Down", "critical", Status.RESOLVED))
    assert new(sent(world, SLOT + DAY).firing) == {"Cert-info": False, "Down-info": True}


def test_an_alert_that_the_rules_send_here_since_then_is_new(world: World) -> None:
    world.post(alert("Cert", "info"), alert("Disk", "warning"))
    sent(world, SLOT)
    world.post(alert("Disk", "warning"))
    world.now += HOUR
    daily = replace(POLICY.root, routes=(Route("route.routes[0]", "daily", severity="warning|info"),))
    world.reload(replace(POLICY, root=replace(daily, receiver="daily", routes=()), fingerprint="to daily"))
    view = sent(world, SLOT + DAY)
    assert new(view.firing) == {"Cert-info": False, "Disk-warning": True}


def test_a_digest_that_was_given_up_has_reported_nothing(world: World) -> None:
    world.post(alert("Cert", "info"))
    work, _ = begin(world, SLOT)
    world.finish(work, Rejected("http 400"))
    world.retry_the_dead()
    assert new(sent(world, SLOT + DAY).firing) == {"Cert-info": True}
    assert new(sent(world, SLOT + 2 * DAY).firing) == {"Cert-info": False}


def test_after_a_late_digest_and_a_restart_nothing_is_new_twice(world: World) -> None:
    world.post(alert("Cert", "info"))
    view = sent(world, SLOT + 3 * DAY + HOUR)
    assert (view.until, new(view.firing)) == (SLOT + 3 * DAY, {"Cert-info": True})
    world.restart()
    assert new(sent(world, SLOT + 4 * DAY).firing) == {"Cert-info": False}


def test_what_is_held_has_its_opening_and_is_new_once(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    (line,) = sent(world, SLOT).held
    assert (line.opens_at, line.is_new) == (SLOT + HOUR, True)
    world.now = SLOT + MINUTE
    work = at_once(world.store.digest(DAILY, world.policy, world.now))
    assert work.digest is not None
    (line,) = work.digest.held
    assert (line.opens_at, line.is_new) == (SLOT + HOUR, False)


def test_a_line_names_the_source_and_its_alertmanager(world: World) -> None:
    world.post(alert("Cert", "info"), peer="http://am-2")
    (line,) = sent(world, SLOT).firing
    assert (line.source, line.external_url) == ("default", "http://am-2")
