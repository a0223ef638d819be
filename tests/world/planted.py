"""Texts that must not leave the router with its reports: each is planted where one of its kind comes in."""

import logging
from collections.abc import MutableMapping
from typing import Any

import aiohttp
import structlog

from router.logs.error_observers import observe_error
from router.logs.pipeline import RouterLogger
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY
from tests.world.fake_slack import TOKEN

ANNOTATION = "annotation of a customer's database"
LABEL = "label-value-of-nobody"
ADDRESSES = ("oncall@example.com", "team@example.com", "+49-30-1234567")
PROVIDER_WORDS = "the provider quotes a secret of nobody"
BODY_URL = "http://alertmanager.internal.example"
EXCEPTION_WORDS = f"could not call {ADDRESSES[2]} with {TOKEN}"
SECRETS = (
    ANNOTATION, LABEL, *ADDRESSES, PROVIDER_WORDS, BODY_URL, EXCEPTION_WORDS, TOKEN, KEY, "C0CRITICAL", "HostDown",
    "group-key-of-nobody", "receiver-of-alertmanager", "local-variable-of-nobody",
)  # fmt: skip


def observe_logged_errors() -> None:
    """Pass errors on as the service's own logging does. That one keeps its loggers, also for later tests."""

    def observe(logger: RouterLogger, level: str, event: MutableMapping[str, Any]) -> str:
        observe_error(
            event["event"], "error" if level == "exception" else level, logger.name, event.get("exc_info")
        )
        raise structlog.DropEvent

    structlog.configure(
        processors=[observe], logger_factory=lambda name="": RouterLogger(name, lambda _: None),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )  # fmt: skip


def fail_with_secrets(*_: Any, **__: Any) -> Any:
    """Fail as a careless library does: with secrets in the text of the exception, in its cause and in a local variable."""
    password = "local-variable-of-nobody"
    try:
        dict[str, str]()[password]
    except KeyError as error:
        raise RuntimeError(EXCEPTION_WORDS, {"annotations": ANNOTATION}) from error


async def post_planted(world: World, status: str = "firing", headers: dict[str, str] | None = None) -> int:
    """Post a critical alert that has a planted text in every field, and return the status of the answer."""
    assert world.service is not None
    labels = {"alertname": "HostDown", "severity": "critical", "customer": LABEL}
    body = {
        "version": "4", "groupKey": "group-key-of-nobody", "receiver": "receiver-of-alertmanager", "status": status,
        "groupLabels": labels, "externalURL": BODY_URL, "commonAnnotations": {"summary": ANNOTATION},
        "alerts": [{
            "status": status, "labels": labels, "annotations": {"summary": ANNOTATION, "phone": ADDRESSES[2]},
            "startsAt": "2026-11-23T11:00:00Z", "generatorURL": f"{BODY_URL}/graph", "fingerprint": "00000000000000aa",
            **({"endsAt": "2026-11-23T11:59:00Z"} if status == "resolved" else {}),
        }],
    }  # fmt: skip
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", json=body, headers=headers) as answer,
    ):
        return answer.status


def found_in(sent: bytes) -> list[str]:
    """Return the planted texts that are in what was sent, whole or as JSON writes them."""
    return [each for each in SECRETS if each.encode() in sent]
