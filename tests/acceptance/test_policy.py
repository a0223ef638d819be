"""The shipped policy, from the real Alertmanager to providers that refuse what the vendors refuse."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.acceptance.conftest import Providers
from tests.acceptance.processes import (
    Alertmanager,
    Router,
    needs_alertmanager,
    needs_faketime,
    running,
    until,
)
from tests.world.fake_pagerduty import KEY, Page
from tests.world.fake_pagerduty import http as pagerduty_http
from tests.world.fake_slack import Want
from tests.world.fake_slack import http as slack_http
from tests.world.fake_smtp import answer as smtp_answer

pytestmark = [needs_alertmanager, needs_faketime]

MONDAY_NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MONDAY_NIGHT = datetime(2026, 11, 23, 22, 41, tzinfo=UTC)
TUESDAY_MORNING = datetime(2026, 11, 24, 8, 59, 58, tzinfo=UTC)


async def _fates(router: Router, wanted: Callable[[dict[str, int]], bool], what: str) -> None:
    async def ready() -> bool:
        return wanted(await router.fates())

    await until(ready, what)


async def test_a_critical_is_sent_edited_and_resolved_everywhere(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes)
    slack, pagerduty, mail = providers.slack, providers.pagerduty, providers.mail
    async with running(router), Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        labels = {"alertname": "Down", "cluster": "eu-1", "severity": "critical"}
        await alertmanager.fire(**labels, instance="a")
        await pagerduty.until(lambda: bool(pagerduty.accepted))
        await slack.until(lambda: bool(slack.messages))
        await mail.until(lambda: len(mail.mails) == 1)
        await alertmanager.fire(**labels, instance="b")
        await slack.until(lambda: slack.only.edits == 1 and len(slack.only.replies) == 1)
        await mail.until(lambda: len(mail.mails) == 2)
        await alertmanager.end(**labels, instance="a")
        await slack.until(lambda: slack.only.edits == 2 and len(slack.only.replies) == 2)
        await mail.until(lambda: len(mail.mails) == 3)
        await alertmanager.end(**labels, instance="b")
        await pagerduty.until(lambda: not pagerduty.only.open)
        await slack.until(lambda: slack.only.edits == 3 and len(slack.only.replies) == 3)
        await mail.until(lambda: len(mail.mails) == 4)
        slack.expect(Want("C0CRITICAL", ("Down", "Resolved"), replies=("new: b", "resolved", "resolved")))
        pagerduty.expect(Page("Down", open=False, severity="critical"))
        first, *rest = mail.mails
        assert first.subject.startswith("[FIRING:1]")
        assert rest[-1].subject.startswith("[RESOLVED]")
        assert {str(each.message["In-Reply-To"]) for each in rest} == {first.id}
        await _fates(router, lambda fates: fates.keys() == {"delivered"}, "every fate is delivered")


async def test_an_inhibited_warning_is_sent_only_after_the_critical_ends(
    providers: Providers, folder: Path
) -> None:
    router = Router(folder, providers.routes, faketime=True)
    router.set_time(MONDAY_NOON)
    slack, pagerduty = providers.slack, providers.pagerduty
    async with running(router), Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        await alertmanager.fire(alertname="Down", cluster="eu-1", severity="critical")
        await pagerduty.until(lambda: bool(pagerduty.accepted))
        await slack.until(lambda: bool(slack.messages))
        await alertmanager.fire(alertname="Down", cluster="eu-1", severity="warning")
        await _fates(router, lambda fates: fates.get("inhibited") == 2, "the warning is inhibited")
        await alertmanager.end(alertname="Down", cluster="eu-1", severity="critical")
        await slack.until(lambda: bool(slack.in_channel("C0WARNINGS")))
        await slack.until(lambda: any(message.replies for message in slack.messages.values()))
        slack.expect(
            Want("C0CRITICAL", ("Down", "Resolved"), replies=("resolved",)),
            Want("C0WARNINGS", ("Down", "Warning")),
        )
        await providers.mail.until(lambda: len(providers.subjects("team@example.com")) == 1)


async def test_a_warning_at_night_is_sent_at_opening_unless_it_ended(
    providers: Providers, folder: Path
) -> None:
    router = Router(folder, providers.routes, faketime=True)
    router.set_time(MONDAY_NIGHT)
    slack, mail = providers.slack, providers.mail
    async with running(router), Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        await alertmanager.fire(alertname="Disk", cluster="eu-1", severity="warning")
        await alertmanager.fire(alertname="Gone", cluster="eu-1", severity="warning")
        await _fates(router, lambda fates: fates == {"held": 4}, "both warnings are held")
        await alertmanager.end(alertname="Gone", cluster="eu-1", severity="warning")
        await _fates(
            router, lambda fates: fates == {"held": 2, "obsolete": 4}, "the one that ended is obsolete"
        )
        slack.expect()
        assert not mail.mails
        router.set_time(TUESDAY_MORNING)
        await slack.until(lambda: bool(slack.messages))
        await mail.until(lambda: bool(providers.subjects("team@example.com")))
        await _fates(
            router, lambda fates: fates == {"delivered": 2, "obsolete": 4}, "the held one is delivered"
        )
        slack.expect(Want("C0WARNINGS", ("Disk", "held since")))
        assert len(providers.subjects("team@example.com")) == 1


async def test_info_is_sent_in_one_digest_and_nowhere_else(providers: Providers, folder: Path) -> None:
    router = Router(folder, providers.routes, faketime=True)
    router.set_time(MONDAY_NIGHT)
    slack, mail = providers.slack, providers.mail
    async with running(router), Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        await alertmanager.fire(alertname="Cert", cluster="eu-1", severity="info")
        await alertmanager.fire(alertname="Backup", cluster="eu-1", severity="info")
        await _fates(router, lambda fates: fates == {"digest": 2}, "both wait for the digest")
        router.set_time(TUESDAY_MORNING.replace(hour=7, minute=59, second=59))
        await mail.until(lambda: bool(mail.mails))
        await _fates(router, lambda fates: fates == {"delivered": 2}, "both are delivered")
        await router.kill()
        await router.start()
        router.set_time(TUESDAY_MORNING.replace(hour=12))
        assert await router.fates() == {"delivered": 2}
        assert [each.recipients for each in mail.mails] == [("digest@example.com",)]
        assert "STILL FIRING (2)" in mail.only.text
        assert "Mon 23 Nov 08:00 to Tue 24 Nov 08:00, UTC" in mail.only.text
        slack.expect()
        providers.pagerduty.expect()


async def test_accepted_alerts_survive_kill_9_while_all_providers_are_down(
    providers: Providers, folder: Path
) -> None:
    slack, pagerduty, mail = providers.slack, providers.pagerduty, providers.mail
    sent_again = [{"delivered": 9 + 3 * repeated} for repeated in range(3)]
    router = Router(folder, providers.routes)
    async with running(router), Alertmanager(folder, f"{router.url}/webhook") as alertmanager:
        mail.fail(*[smtp_answer("451 4.3.0 try again", at="MAIL")] * 1_000)
        slack.fail(*[slack_http(503)] * 1_000)
        pagerduty.fail(*[pagerduty_http(503)] * 1_000)
        await alertmanager.fire(alertname="Down", cluster="eu-1", severity="critical")
        await alertmanager.fire(alertname="Gone", cluster="eu-1", severity="critical")
        await _fates(router, lambda fates: fates.get("pending") == 6, "two criticals are accepted")
        await router.kill()
        mail.recover()
        slack.recover()
        pagerduty.recover()
        await router.start()
        await slack.until(lambda: len(slack.messages) == 2)
        await mail.until(lambda: len(providers.subjects("oncall@example.com")) == 2)
        await pagerduty.until(lambda: len(pagerduty.accepted) == 2)
        await alertmanager.end(alertname="Gone", cluster="eu-1", severity="critical")
        await pagerduty.until(lambda: not all(each.open for each in pagerduty.incidents[KEY]))
        # Alertmanager sends a webhook again if it got no answer before the kill.
        await _fates(router, lambda fates: fates in sent_again, "everything is delivered")
        pages = [Page("Down", open=True), Page("Gone", open=False)]
        if "Gone" in pagerduty.incidents[KEY][0].summary:  # Alertmanager sends its groups in any order
            pages.reverse()
        pagerduty.expect(*pages)
