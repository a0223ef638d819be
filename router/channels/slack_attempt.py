"""One attempt to bring a conversation's messages in Slack up to date, call by call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from router.channels.base import content_hash
from router.channels.slack_calls import EMPTY_REPLY, parts_of
from router.channels.slack_errors import (
    EDIT_REFUSED,
    MESSAGE_GONE,
    NO_THREADS,
    PAYLOAD_BROKEN,
    code_of,
    is_transient,
    is_unknown,
)
from router.channels.slack_mrkdwn import entities, fenced, markup_argument, text_of
from router.channels.slack_plain import has_buttons, plain_pages, without_buttons
from router.model import MINUTE, SECOND, Broken, Call, Conversation, Millis, Outcome, Rejected, Retry

# How far Slack's clock may be behind ours, and how many messages of the history are searched.
_MAX_CLOCK_SKEW: Millis = MINUTE
_MAX_HISTORY_MESSAGES = 200
_EVENT_TYPE = "alert_router"
_CALL_KINDS = {"chat_postMessage": Call.POST, "chat_update": Call.EDIT, "conversations_history": Call.READ}


class UnfinishedError(Exception):
    """All calls that are paid for were made, and others have to follow."""


class SlackAttempt:
    """Makes the calls. ``remote`` is the conversation's remote state; it grows with each call, see
    :class:`router.channels.slack.SlackChannel`.
    """

    def __init__(self, client: AsyncWebClient, conversation: Conversation, paid: int | None) -> None:
        """:param paid: the number of calls of :func:`router.channels.slack_calls.calls_of` that are paid for; None: all"""
        self.remote = dict(conversation.remote)
        self.unpaid: list[Call] = []
        """The calls that were made in addition to those of :func:`calls_of`."""
        self._client = client
        self._conversation = conversation
        self._paid = paid
        self._planned = self._made = 0
        self._is_plain = False
        """Whether the last message could be sent as plain text only."""

    async def update(self, channel: str, body: Mapping[str, Any]) -> None:
        """Make the calls of :func:`router.channels.slack_calls.calls_of`.

        :raises UnfinishedError: more calls are needed than are paid for
        :raises SlackApiError: or another error of ``FAULTS``: a call failed
        """
        remote, gone = self.remote, False
        if "doubt" in remote:
            await self._find_posted(channel)
        if "ts" in remote:
            try:
                await self._follow_up(body)
            except SlackApiError as error:
                if code_of(error) not in MESSAGE_GONE:
                    raise
                remote.clear()
                gone = True
            else:
                return
        if not gone:
            self._spend_call()
        await self._post(channel, body)
        await self._update_parts(parts_of(self.remote, self._conversation, body))

    def _spend_call(self) -> None:
        """Count a planned call, before it is made.

        :raises UnfinishedError: it is not paid for
        """
        if self._paid is not None and self._planned >= self._paid:
            raise UnfinishedError
        self._planned += 1

    async def _find_posted(self, channel: str) -> None:
        """Look for the message in the channel's history, because the answer to its post was lost.

        If the bot has no right to read the channel (scope channels:history), the message is posted again.

        https://docs.slack.dev/reference/methods/conversations.history
        """
        since = max(0, self.remote["doubt"] - _MAX_CLOCK_SKEW) / SECOND
        try:
            history = await self._call(
                "conversations_history",
                channel=channel, oldest=f"{since:.6f}", limit=_MAX_HISTORY_MESSAGES, include_all_metadata=True,
            )  # fmt: skip
        except SlackApiError as error:
            if is_transient(error):
                raise
            return
        found = [
            (message["ts"], version)
            for message in history["messages"]
            if (version := _version(message, self._conversation)) is not None
        ]
        if found:
            ts, version = max(found)
            self.remote.clear()
            self.remote.update(channel=channel, ts=ts, shown=version, threaded=version)

    async def _post(self, channel: str, body: Mapping[str, Any]) -> None:
        # https://docs.slack.dev/messaging/message-metadata
        version = self._conversation.version
        delivery = f"{_delivery(self._conversation)}{version}"
        metadata = {"event_type": _EVENT_TYPE, "event_payload": {"delivery": delivery}}
        whole = {**_message(body), "metadata": metadata}
        answer = await self._send_whole(
            "chat_postMessage", whole, body, channel=channel, unfurl_links=False, unfurl_media=False
        )
        destination_key = {"channel": _text(answer["channel"]), "ts": _text(answer["ts"])}
        self.remote.clear()
        # The new message shows everything, so this version needs no reply.
        self.remote.update(destination_key, shown=version, threaded=version)
        self._keep_plain()

    async def _follow_up(self, body: Mapping[str, Any]) -> None:
        remote, version = self.remote, self._conversation.version
        sealed, refused = "sealed" in remote, False
        if remote.get("shown") != version and not sealed:
            self._spend_call()
            try:
                await self._send_whole(
                    "chat_update", _message(body), body, channel=remote["channel"], ts=remote["ts"]
                )
                remote["shown"] = version
                self._keep_plain()
            except SlackApiError as error:
                if code_of(error) not in EDIT_REFUSED and not is_unknown(error):
                    raise
                sealed = refused = True
        if remote.get("threaded") != version:
            if sealed:
                if not refused:  # otherwise the reply takes the place of the edit, in the same attempt
                    self._spend_call()
                await self._reply(_message(body), plain_pages(body["plain"])[0], broadcast=body["broadcast"])
                self._keep_plain()
                remote["parts"] = []
                remote.setdefault("sealed", version)
            elif body["thread"]:
                self._spend_call()
                blocks = body["thread_blocks"]
                plain = fenced(entities("\n".join(map(text_of, blocks)))) if blocks else body["thread"]
                await self._reply(
                    {"text": body["thread"], "blocks": blocks}, plain, broadcast=body["broadcast"]
                )
            if body.get("log"):  # the replies of the earlier version stay as they are
                remote["parts"] = []
            remote["shown"] = remote["threaded"] = version
        await self._update_parts(parts_of(remote, self._conversation, body))

    async def _update_parts(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Edit, post or empty the numbered replies."""
        known: list[Any] = list(self.remote.get("parts", ()))
        sealed = "sealed" in self.remote
        surplus = [] if sealed else [EMPTY_REPLY] * (len(known) - len(parts))
        for number, part in enumerate([*parts, *surplus]):
            ts, before = known[number] if number < len(known) else ("", "")
            sha256 = content_hash(part)
            if before == sha256 or (ts and sealed):
                continue
            self._spend_call()
            known[number : number + 1] = [[await self._update_part(part, ts), sha256]]
            self.remote["parts"] = [*known]

    async def _update_part(self, part: Mapping[str, Any], ts: str) -> str:
        """Edit a numbered reply, or post it if it has no ts. Returns its ts."""
        part, broadcast = {**part}, bool(part.get("broadcast"))
        part.pop("broadcast", None)
        if ts:
            try:
                await self._call("chat_update", channel=self.remote["channel"], ts=ts, **part)
            except SlackApiError as error:
                if code_of(error) not in MESSAGE_GONE | EDIT_REFUSED | PAYLOAD_BROKEN and not is_unknown(
                    error
                ):
                    raise
                if part == EMPTY_REPLY:
                    return ts
            else:
                return ts
        # As text it may be too long for an edit, but not for a post:
        # https://docs.slack.dev/reference/methods/chat.postMessage#truncating
        plain = (
            fenced(entities("\n".join(map(text_of, part["blocks"])))) if part["blocks"] else str(part["text"])
        )
        return await self._reply(part, plain, broadcast=broadcast)

    async def _reply(self, whole: Mapping[str, Any], plain: str, *, broadcast: bool = False) -> str:
        """Post a reply and return its ts. If the thread refuses the reply, it is posted in the channel."""
        destination_key = {"channel": self.remote["channel"], "unfurl_links": False, "unfurl_media": False}
        thread = {"thread_ts": self.remote["ts"], "reply_broadcast": broadcast}
        try:
            answer = await self._with_fallback("chat_postMessage", whole, plain, **destination_key, **thread)
        except SlackApiError as error:
            if code_of(error) not in NO_THREADS and not is_unknown(error):
                raise
            answer = await self._with_fallback("chat_postMessage", whole, plain, **destination_key)
        return _text(answer["ts"])

    def _keep_plain(self) -> None:
        """Remember whether the message is plain now; replies then have what its text has no room for."""
        if self._is_plain:
            self.remote["plain"] = self._conversation.version
        else:
            self.remote.pop("plain", None)

    async def _send_whole(
        self, method: str, whole: Mapping[str, Any], body: Mapping[str, Any], **where: Any
    ) -> Any:
        return await self._with_fallback(method, whole, plain_pages(body["plain"])[0], **where)

    async def _with_fallback(self, method: str, whole: Mapping[str, Any], plain: str, **where: Any) -> Any:
        """Make a call; if Slack refuses the message, send it in the same attempt without its buttons, and if that is
        refused, too, as plain text, so that the alert arrives.

        An error that no table names is worth one plain try only.
        """
        self._is_plain = False
        try:
            return await self._call(method, **whole, **where)
        except SlackApiError as error:
            code, unknown = code_of(error), is_unknown(error)
            if code not in PAYLOAD_BROKEN and not unknown:
                raise
        rest = {name: value for name, value in whole.items() if name != "metadata"}
        if "metadata" in code and "metadata" in whole:
            return await self._with_fallback(method, rest, plain, **where)
        whole = rest if unknown else whole
        if not unknown and has_buttons(whole):
            return await self._with_fallback(method, without_buttons(whole), plain, **where)
        self._is_plain = True
        bare: dict[str, Any] = {name: [] for name in ("blocks", "attachments") if name in whole}
        return await self._call(method, **{**whole, **bare, "text": plain}, **where)

    async def _call(self, method: str, **arguments: Any) -> Any:
        if self._made < self._planned:
            self._made += 1
        else:
            self.unpaid.append(_CALL_KINDS[method])
        # An edit has no such argument: https://docs.slack.dev/reference/methods/chat.update. It needs none, because it
        # sends no notification, and the message shows its blocks.
        if method == "chat_postMessage":
            arguments |= markup_argument(arguments)
        return await getattr(self._client, method)(**arguments)


def outcome_of(
    fault: Retry | Broken | Rejected, remote: dict[str, Any], conversation: Conversation
) -> Outcome:
    """Return the outcome of the attempt, after one of its calls failed."""
    version = conversation.version
    if isinstance(fault, Rejected) and conversation.storm is not None:
        return fault  # the conversations that the storm's message names are then sent one by one
    if remote.get("shown") == version and conversation.remote.get("shown") != version:
        # The message itself arrived. A reply that Slack refuses for good is reported by the next attempt.
        failure = Retry(fault.reason) if isinstance(fault, Rejected) else fault
        if isinstance(failure, Retry):
            return replace(failure, ambiguous=True, remote=remote, further=True)
        return replace(failure, ambiguous=True, remote=remote)
    if isinstance(fault, Rejected):
        return fault
    if isinstance(fault, Retry) and "ts" in remote and remote != conversation.remote:
        return replace(fault, remote=remote, further=True)
    if isinstance(fault, Retry) and fault.ambiguous and "ts" not in remote:
        remote.setdefault("doubt", conversation.now)
    return replace(fault, remote=remote)


def _message(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": body["text"], "blocks": body["blocks"], "attachments": body["attachments"]}


def _delivery(conversation: Conversation) -> str:
    """Return the beginning of the delivery id in the metadata of its messages."""
    return f"{conversation.token}-{conversation.episode}-"


def _version(message: Mapping[str, Any], conversation: Conversation) -> int | None:
    """Return the version of the conversation that a message was posted for; None: it belongs to another one."""
    delivery = str(message.get("metadata", {}).get("event_payload", {}).get("delivery", ""))
    version = delivery.removeprefix(_delivery(conversation))
    return int(version) if version != delivery and version.isdecimal() else None


def _text(value: Any) -> str:
    """Return the value if it is text. :raises TypeError: it is not"""
    if not isinstance(value, str):
        raise TypeError
    return value
