"""What Telegram's error answers mean."""

from router.channels.http import REDIRECT_REASONS, REDIRECTS, HttpAnswer, StatusTable
from router.model import Broken, Millis, Rejected, Retry

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


def says(answer: HttpAnswer, *phrases: str) -> str:
    """Return the first phrase that an error's description contains; else an empty text."""
    text = "" if answer.is_success else str(answer.data.get("description", "")).casefold()
    return next((each for each in phrases if each in text), "")


def failure_of(answer: HttpAnswer, now: Millis) -> Retry | Broken | Rejected:
    """Return what an answer means that has no message. :param now: epoch milliseconds"""
    if answer.is_success:  # without the message's id it could not be edited later
        return Retry("bad answer", ambiguous=True, cause=CAUSE)
    # https://core.telegram.org/bots/api#responseparameters
    found = answer.data.get("parameters")
    parameters = found if isinstance(found, dict) else {}
    if answer.status < 500 and (phrase := says(answer, *BROKEN_PHRASES)):
        new = parameters.get("migrate_to_chat_id")
        words = f"set chat_id to {new}: {answer.words}" if isinstance(new, int) else answer.words
        return Broken(f"telegram: {phrase}", words=words)
    shared = CAUSE if answer.status in {401, 404} or answer.status >= 500 else ""
    return STATUSES.failure(answer, now, retry_after=parameters.get("retry_after"), cause=shared)
