"""One attempt at bringing a conversation's messages in Telegram up to date, request by request, and what errors mean."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router.channels.http import (
    REDIRECT_REASONS,
    REDIRECTS,
    HttpAnswer,
    HttpTransport,
    StatusTable,
    requested_wait,
)
from router.model import Broken, Call, Conversation, Delivered, Millis, Outcome, Rejected, Retry

# What all chats that one token reaches have in common.
CAUSE = "telegram"

# https://core.telegram.org/bots/api#making-requests: the error code is the HTTP status.
STATUSES = StatusTable(
    broken=REDIRECTS | {401, 403, 404},
    # Plain text is sent instead; if that is refused as well, the message is rejected.
    rejected=frozenset({400, 413}),
    reasons={400: "bad request", 401: "token refused", 403: "forbidden", 404: "unknown token", 413: "too large", 429: "too many requests", **REDIRECT_REASONS},
)  # fmt: skip
# What the status does not say, the description does. The documentation lists none; the server makes them:
# https://github.com/tdlib/telegram-bot-api/blob/master/telegram-bot-api/Client.cpp. These are compared in lower case.
NOT_MODIFIED_PHRASE = "message is not modified"
GONE_PHRASES = ("message to edit not found", "message can't be edited", "message_id_invalid")
# A person has to repair the chat, or the bot's rights in it.
BROKEN_PHRASES = (
    "chat not found", "bot was kicked", "bot was blocked by the user", "bot is not a member", "not enough rights",
    "user is deactivated", "group chat was upgraded to a supergroup chat", "group chat was deactivated",
    "message thread not found", "topic_closed", "topic_deleted", "have no rights to send a message",
    "chat_write_forbidden", "chat_restricted", "bot can't initiate conversation", "bots can't send messages to bots",
    "need administrator rights in the channel chat", "peer_id_invalid",
)  # fmt: skip
_UNFINISHED = Retry("more messages follow", reached=True, unfinished=True)


class TelegramAttempt:
    """Edits the first message or posts it, then posts the replies, and records how far it has come."""

    def __init__(
        self,
        http: HttpTransport,
        url: str,
        chat: Mapping[str, Any],
        topic: Mapping[str, Any],
        conversation: Conversation,
        paid: int | None,
    ) -> None:
        """
        :param url: with the token
        :param chat: the parameters that name the chat
        :param topic: the parameters that name the topic, for posts
        :param paid: how many of :func:`calls_of` are paid for; None: all
        """
        self.remote = dict(conversation.remote)
        self.unpaid: list[Call] = []
        """The requests beside those of :func:`calls_of`."""
        self._http, self._url, self._conversation = http, url, conversation
        self._chat, self._topic = chat, topic
        self._left = paid

    async def update(self, body: Mapping[str, Any]) -> Outcome:
        """Bring the first message up to date, then post the replies that are missing.

        :raises aiohttp.ClientError: or another of :data:`router.channels.http.FAULTS`
        """
        remote, version = self.remote, self._conversation.version
        if remote.get("shown") != version:
            if not self._may_continue():
                return _UNFINISHED
            if failure := await self._show(body):
                return failure
            remote["shown"] = version
        for number in range(_replied(remote, version), len(body["replies"])):
            if not self._may_continue():
                return _UNFINISHED
            # https://core.telegram.org/bots/api#replyparameters
            quoted = {"message_id": remote["message"], "allow_sending_without_reply": True}
            answer = await self._send(Call.POST, body["replies"][number], reply_parameters=quoted)
            if _message_id(answer) is None:
                return _failure(answer, self._conversation.now)
            remote["replied"] = [version, number + 1]
        return Delivered(remote)

    async def _show(self, body: Mapping[str, Any]) -> Outcome | None:
        """Edit the first message; post it if there is none, or none that can be edited. Return the failure, if any."""
        remote, now = self.remote, self._conversation.now
        if "message" in remote:
            answer = await self._send(Call.EDIT, body, message_id=remote["message"])
            if answer.data.get("ok") is True or _says(answer, NOT_MODIFIED_PHRASE):
                return None
            if not _says(answer, *GONE_PHRASES):
                return _failure(answer, now)
            remote.clear()
            self.unpaid.append(Call.POST)
        answer = await self._send(Call.POST, body)
        if (message_id := _message_id(answer)) is None:
            return _failure(answer, now)
        remote["message"] = message_id
        return None

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return the outcome with what the attempt has done before it failed."""
        remote, before = self.remote, self._conversation.remote
        if isinstance(outcome, Delivered) or remote == before:
            return outcome
        has_shown = remote.get("shown") == self._conversation.version
        if isinstance(outcome, Rejected):
            # The groups that a storm's refused reply names are sent one by one.
            if not has_shown or self._conversation.storm is not None:
                return outcome
            # The first message arrived. A reply that is refused for good is reported by the next attempt.
            outcome = Retry(outcome.reason, words=outcome.words)
        outcome = replace(outcome, remote=remote, ambiguous=has_shown or outcome.ambiguous)
        return replace(outcome, further=True) if has_shown and isinstance(outcome, Retry) else outcome

    def _may_continue(self) -> bool:
        """Count the next planned request; False if it is not paid for."""
        if self._left == 0:
            return False
        self._left = None if self._left is None else self._left - 1
        return True

    async def _send(self, call: Call, message: Mapping[str, Any], **more: Any) -> HttpAnswer:
        """Send HTML; if Telegram can't read it, plain text in the same attempt, so that the alert arrives."""
        topic = {} if call is Call.EDIT else self._topic  # an edit names the message
        preview = {"link_preview_options": {"is_disabled": True}}
        url = f"{self._url}/{'editMessageText' if call is Call.EDIT else 'sendMessage'}"
        given = {**self._chat, **topic, **preview, **more}
        whole = {**given, "text": message["text"], "parse_mode": "HTML"}
        answer = await self._http.request("POST", url, json=whole)
        known = (NOT_MODIFIED_PHRASE, *GONE_PHRASES, *BROKEN_PHRASES)
        if answer.status not in STATUSES.rejected or _says(answer, *known):
            return answer
        self.unpaid.append(call)
        return await self._http.request("POST", url, json={**given, "text": message["plain"]})


def calls_of(conversation: Conversation, body: Mapping[str, Any]) -> tuple[Call, ...]:
    """Return the requests that a message takes if nothing goes wrong, in their order."""
    remote, version = conversation.remote, conversation.version
    first = () if remote.get("shown") == version else (Call.EDIT if "message" in remote else Call.POST,)
    return (*first, *[Call.POST] * (len(body["replies"]) - _replied(remote, version)))


def _replied(remote: Mapping[str, Any], version: int) -> int:
    of, count = remote.get("replied", (None, 0))
    return int(count) if of == version else 0


def _message_id(answer: HttpAnswer) -> int | None:
    result = answer.data.get("result")
    found = result.get("message_id") if answer.data.get("ok") is True and isinstance(result, dict) else None
    return found if isinstance(found, int) else None


def _says(answer: HttpAnswer, *phrases: str) -> str:
    """Return the first phrase that an error's description contains; else an empty text."""
    text = "" if answer.is_success else str(answer.data.get("description", "")).casefold()
    return next((each for each in phrases if each in text), "")


def _failure(answer: HttpAnswer, now: Millis) -> Retry | Broken | Rejected:
    if answer.is_success:  # without the message's id it could not be edited later
        return Retry("bad answer", ambiguous=True, cause=CAUSE)
    if answer.status < 500 and (phrase := _says(answer, *BROKEN_PHRASES)):
        words = (
            f"set chat_id to {new}: {answer.words}"
            if (new := _parameter(answer, "migrate_to_chat_id"))
            else ""
        )
        return Broken(f"telegram: {phrase}", words=words or answer.words)
    shared = CAUSE if answer.status in {401, 404} or answer.status >= 500 else ""
    failure = STATUSES.failure(answer, now, cause=shared)
    wait = _parameter(answer, "retry_after")
    if isinstance(failure, Retry) and wait is not None:
        return replace(failure, after=requested_wait(wait, now))
    return failure


def _parameter(answer: HttpAnswer, name: str) -> int | None:
    """https://core.telegram.org/bots/api#responseparameters"""
    parameters = answer.data.get("parameters")
    value = parameters.get(name) if isinstance(parameters, dict) else None
    return value if isinstance(value, int) else None
