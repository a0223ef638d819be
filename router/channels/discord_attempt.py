"""One attempt at bringing a conversation's messages in Discord up to date, request by request."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from router.channels.base import content_hash
from router.channels.http import (  # fmt: skip
    REDIRECT_REASONS,
    REDIRECTS,
    TRANSIENT_STATUSES,
    HttpAnswer,
    HttpTransport,
    StatusTable,
    requested_wait,
)
from router.model import HOUR, Broken, Delivered, Millis, Outcome, Rejected, Retry

# https://docs.discord.com/developers/topics/opcodes-and-status-codes: HTTP's statuses, and the codes of a JSON body,
# which have five digits or more.
STATUSES = StatusTable(
    transient=TRANSIENT_STATUSES | {20016, 20028, 20029, 30046, 40333, 130000},
    # A person has to make a new webhook or to repair the address.
    broken=REDIRECTS | {401, 403, 404, 10003, 10015, 50001, 50013, 50027, 220001},
    # Text is sent instead; if that is refused as well, the message is rejected. The statuses are for answers without a
    # code: then a server in between speaks, and not Discord.
    rejected=frozenset({400, 413, 415, 422, 50006, 50035, 50109}),
    waits=frozenset(),
    reasons={
        10003: "unknown channel", 10008: "unknown message", 10015: "unknown webhook",
        30046: "too many edits of old messages", 50001: "missing access", 50005: "message of another author",
        50006: "empty message", 50013: "missing permissions", 50027: "invalid webhook token",
        50035: "invalid form body", 50109: "invalid JSON", 220001: "a forum, set thread_id",
        **REDIRECT_REASONS,
    },
)  # fmt: skip
# The message can't be edited any more; it is posted again.
MESSAGE_GONE = frozenset({10008, 50005})
# What all webhooks have in common.
CAUSE = "discord"
_UNFINISHED = Retry("more messages follow", reached=True, unfinished=True)


@dataclass(frozen=True, slots=True)
class _DiscordAnswer:
    status: int
    code: int = 0
    """Discord's error code; 0: none."""
    message_id: str = ""
    wait: Millis | None = None
    """How long to send no further request; None: there is no need to wait."""
    everywhere: bool = False
    """The wait is not for this webhook alone."""
    http: HttpAnswer | None = None
    """None: the request was not made, for Discord would have refused it."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def number(self) -> int:
        """The key of the tables: Discord's code where a table has it or it explains a 400, else the status."""
        known = self.code in STATUSES.numbers | MESSAGE_GONE
        return self.code if known or (self.status == 400 and self.code) else self.status


@dataclass(frozen=True, slots=True)
class PostedMessage:
    """A message that was posted, and what it shows."""

    id: str
    version: int = -1
    """The conversation's version when the message was last sent."""
    sha256: str = ""
    """The hash of its content then."""

    def is_stale(self, version: int, number: int, message: Mapping[str, Any]) -> bool:
        """Return whether a message has to be sent. The first message is, for each version: the answer shows whether
        it exists.
        """
        return self.version != version and (number == 0 or self.sha256 != content_hash(message))


def posted_messages(remote: Mapping[str, Any]) -> list[PostedMessage]:
    """Read a conversation's remote state: ``message`` and ``more`` are ids, ``carries`` has a version and a hash of each."""
    ids = [remote["message"], *remote.get("more", ())] if remote.get("message") else []
    carries = [*remote.get("carries", ()), *[[-1, ""]] * len(ids)]
    return [PostedMessage(id_, *carried) for id_, carried in zip(ids, carries, strict=False)]


class DiscordAttempt:
    """Edits, posts and deletes messages, and records how far it has come."""

    def __init__(
        self,
        http: HttpTransport,
        webhook_url: str,
        thread_id: str | None,
        remote: Mapping[str, Any],
        paid: int | None,
    ) -> None:
        """
        :param webhook_url: with the token
        :param thread_id: the thread of all the messages; None: the channel itself
        :param remote: the conversation's remote state
        :param paid: the number of requests that are paid for; None: all
        """
        self.posted = posted_messages(remote)
        """The messages, in their order."""
        self.shows_version = False
        """At least one message shows the conversation's current version."""
        self.wait: Millis = 0
        """How long Discord wants no further request."""
        self._http = http
        self._url = webhook_url
        self._query = {} if thread_id is None else {"thread_id": thread_id}
        self._embeds_refused = False
        self._paid = paid
        self._planned = self._made = 0

    @property
    def remote(self) -> dict[str, Any]:
        """The conversation's remote state as it is now."""
        if not self.posted:
            return {}
        first, *more = self.posted
        remote = {"message": first.id, "carries": [[each.version, each.sha256] for each in self.posted]}
        return {**remote, "more": [each.id for each in more]} if more else remote

    @property
    def unpaid(self) -> int:
        """The number of requests that were made in addition to the planned ones."""
        return self._made - self._planned

    async def update(self, version: int, messages: Sequence[Mapping[str, Any]], now: Millis) -> Outcome:
        """Edit stale messages, post missing ones, and delete those that are not needed any more.

        :param now: epoch milliseconds
        :raises aiohttp.ClientError: or another of :data:`router.channels.http_faults.REQUEST_FAULTS`
        """
        for number in self._order(len(messages)):
            message = messages[number]
            posted = self.posted[number] if number < len(self.posted) else None
            if posted is not None and not posted.is_stale(version, number, message):
                continue
            if not self._may_continue():
                return _UNFINISHED
            answer = await self._send(posted.id, message, now) if posted is not None else None
            if answer is None or answer.code in MESSAGE_GONE:
                answer = await self._send("", message, now)
            if not answer.is_success or not answer.message_id:
                return _failure(answer, now)
            self.posted[number : number + 1] = [
                PostedMessage(answer.message_id, version, content_hash(message))
            ]
            self.shows_version = True
        while len(self.posted) > len(messages):
            if not self._may_continue():
                return _UNFINISHED
            answer = await self._request("DELETE", self.posted[-1].id, None, now)
            if not answer.is_success and answer.code not in MESSAGE_GONE:
                return _failure(answer, now)
            self.posted.pop()
        return Delivered()

    def _order(self, count: int) -> list[int]:
        """Return the numbers of the messages in the order in which they are sent.

        The first message has the news. Missing ones come before stale ones: otherwise they would never be posted while
        news keep coming and only a few requests are allowed at a time.
        """
        missing = range(max(1, len(self.posted)), count)
        stale = sorted(range(1, min(len(self.posted), count)), key=lambda number: self.posted[number].version)
        return [*range(min(1, count)), *missing, *stale]

    def _may_continue(self) -> bool:
        """Count the next planned request; False if it is not paid for. While Discord wants a wait, none is made."""
        if self.wait:
            return True
        if self._paid is not None and self._planned >= self._paid:
            return False
        self._planned += 1
        return True

    async def _send(self, message_id: str, message: Mapping[str, Any], now: Millis) -> _DiscordAnswer:
        """Edit a message, or post it if there is no id.

        An embed that Discord refuses is sent as text, in the same attempt, so that the alert arrives. The later
        messages of the attempt are then sent as text immediately: the number of requests is limited.
        """
        method = "PATCH" if message_id else "POST"
        body = {name: value for name, value in message.items() if name != "plain"}
        if not self._embeds_refused or not message["embeds"]:
            answer = await self._request(method, message_id, body, now)
            if answer.number not in STATUSES.rejected or not message["embeds"]:
                return answer
            self._embeds_refused = True
        plain = {**body, "content": message["plain"], "embeds": []}
        return await self._request(method, message_id, plain, now)

    async def _request(
        self, method: str, message_id: str, body: Mapping[str, Any] | None, now: Millis
    ) -> _DiscordAnswer:
        if self.wait:
            return _DiscordAnswer(429, wait=self.wait)
        self._made += 1
        path = f"/messages/{message_id}" if message_id else ""
        # With `wait` the answer has the message and its id.
        query = urlencode(self._query if message_id else {"wait": "true", **self._query})
        url = f"{self._url}{path}?{query}" if query else f"{self._url}{path}"
        answer = _read(await self._http.request(method, url, json=body), now)
        self.wait = answer.wait or 0
        return answer


def _read(answer: HttpAnswer, now: Millis) -> _DiscordAnswer:
    """https://docs.discord.com/developers/topics/rate-limits"""
    data, headers = answer.data, answer.headers
    wait = None
    if answer.status == 429:
        wait = requested_wait(data.get("retry_after", headers.get("Retry-After")), now)
    elif headers.get("X-RateLimit-Remaining") == "0":
        wait = requested_wait(headers.get("X-RateLimit-Reset-After"), now)
    # A 429 without JSON comes from Cloudflare, which limits IP addresses and not webhooks.
    everywhere = data.get("global") is True or headers.get("X-RateLimit-Scope") == "global" or not data
    code, message_id = data.get("code"), str(data.get("id", ""))
    return _DiscordAnswer(
        answer.status,
        code=code if isinstance(code, int) and 0 < code < 10**6 else 0,
        message_id=message_id if re.fullmatch(r"[0-9]{1,20}", message_id) else "",
        wait=None if wait is None else min(wait, HOUR),
        everywhere=answer.status == 429 and everywhere,
        http=answer,
    )


def _failure(answer: _DiscordAnswer, now: Millis) -> Retry | Broken | Rejected:
    if answer.is_success:  # without the message's id it could not be edited later
        return Retry("bad answer", ambiguous=True, cause=CAUSE)
    if answer.http is None or answer.status == 429:
        words = "" if answer.http is None else answer.http.words
        return Retry("ratelimited", after=answer.wait, pause=True, everywhere=answer.everywhere, words=words)
    reason = STATUSES.reason(answer.code, "discord") if answer.code else STATUSES.reason(answer.status)
    shared = CAUSE if answer.status >= 500 else ""
    return STATUSES.failure(answer.http, now, number=answer.number, reason=reason, cause=shared)
