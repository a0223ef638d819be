"""What Slack's errors mean for a delivery: the table, and how a fault is judged by it."""

import re
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from router.channels.http import fault_outcome
from router.model import SECOND, Broken, Millis, Rejected, Retry

# https://docs.slack.dev/reference/methods/chat.postMessage#errors, …/chat.update#errors and
# …/conversations.history#errors. A code in none of these may pass, as the transient ones do.
TRANSIENT = frozenset({
    "ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org",
    "external_channel_migrating",
})  # fmt: skip
# It may have been done all the same.
AMBIGUOUS = frozenset({"fatal_error", "internal_error"})
PAYLOAD_BROKEN = frozenset({
    "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "invalid_attachments",
    "too_many_attachments", "attachment_payload_limit_exceeded", "metadata_too_large", "invalid_metadata_format",
    "invalid_metadata_schema", "metadata_must_be_sent_from_app",
})  # fmt: skip
# It can't be edited because it is not there, or can't be answered any more.
MESSAGE_GONE = frozenset({"message_not_found", "thread_not_found", "restricted_action_thread_locked"})
# It is there, and can be answered.
EDIT_REFUSED = frozenset({"cant_update_message", "edit_window_closed"})
# Only people can mend these.
DESTINATION_BROKEN = frozenset({
    "channel_not_found", "not_in_channel", "is_archived", "is_inactive", "messages_tab_disabled", "restricted_action",
    "restricted_action_read_only_channel", "restricted_action_thread_only_channel",
    "missing_scope", "no_permission", "not_allowed_token_type",
    "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "access_denied",
    "accesslimited", "ekm_access_denied", "enterprise_is_restricted", "org_login_required", "team_not_found",
    "team_access_not_granted", "two_factor_setup_required", "method_deprecated", "deprecated_endpoint",
})  # fmt: skip
_LIMITED = frozenset({"ratelimited", "rate_limited"})

# What the SDK may raise; the last four are what it comes to when an answer is not the JSON object that it
# takes for granted.
FAULTS = (
    SlackClientError,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    AttributeError,
    TypeError,
    RecursionError,
)


# The message, or the channel as a whole, takes no replies, or none that the channel sees.
NO_THREADS = frozenset({
    "restricted_action_non_threadable_channel", "cannot_reply_to_message", "cant_broadcast_message",
})  # fmt: skip
# Of what is broken, this is the token's fault, which all channels share.
_OF_THE_TOKEN = frozenset({
    "missing_scope", "no_permission", "not_allowed_token_type", "invalid_auth", "not_authed", "token_revoked",
    "token_expired", "account_inactive", "access_denied", "accesslimited", "ekm_access_denied",
    "enterprise_is_restricted", "org_login_required", "team_not_found", "team_access_not_granted",
    "two_factor_setup_required", "method_deprecated", "deprecated_endpoint",
})  # fmt: skip
_KNOWN = (
    TRANSIENT
    | AMBIGUOUS
    | PAYLOAD_BROKEN
    | MESSAGE_GONE
    | EDIT_REFUSED
    | DESTINATION_BROKEN
    | _LIMITED
    | NO_THREADS
)
# What every channel that this token reaches has in common.
CAUSE = "slack"


def code_of(error: SlackApiError) -> str:
    """Slack's code, made safe to show; empty when the answer has none."""
    data = getattr(error.response, "data", None)
    if isinstance(data, dict) and isinstance(data.get("error"), str):
        return re.sub(r"[^a-z0-9_]", "", data["error"].casefold())[:60] or "unknown"
    return ""


def is_unknown(error: SlackApiError) -> bool:
    """Slack refuses it for a reason that no table names: it is worth one try as plain text."""
    code = code_of(error)
    return bool(code) and code not in _KNOWN and _status(error) < 429


def judged(error: Exception) -> Retry | Broken | Rejected:
    """What a fault, one of :data:`FAULTS`, means for the call that it befell. No reason holds what was sent."""
    match error:
        case SlackApiError():
            return _answered(error)
        case OSError() | aiohttp.ClientError():
            return fault_outcome(error, CAUSE)
    return Retry("bad answer", ambiguous=True, cause=CAUSE)


def passes(error: SlackApiError) -> bool:
    """It is known to pass."""
    outcome = _answered(error)
    return isinstance(outcome, Retry) and (outcome.ambiguous or outcome.reason in TRANSIENT)


def _status(error: SlackApiError) -> int:
    # With an answer that is no JSON the SDK hands over aiohttp's own response, which says `status`.
    response: Any = error.response
    status: int = response.status_code if hasattr(response, "status_code") else response.status
    return status


def _words(error: SlackApiError) -> str:
    """What Slack says beside the code: the scope that is needed, what is wrong with which block.

    https://docs.slack.dev/apis/web-api/#responses
    """
    data = getattr(error.response, "data", None)
    if not isinstance(data, dict):
        return ""
    metadata = data.get("response_metadata")
    said = {name: data.get(name) for name in ("errors", "needed", "provided", "warning")}
    said["messages"] = metadata.get("messages") if isinstance(metadata, dict) else None
    code = str(data.get("error") or "")
    pieces = [code] if code != code_of(error) else []
    for name, value in said.items():
        if value:
            pieces.append(f"{name}: {'; '.join(map(str, value)) if isinstance(value, list) else value}")
    return ", ".join(filter(None, pieces))


def _answered(error: SlackApiError) -> Retry | Broken | Rejected:
    status, code, words = _status(error), code_of(error), _words(error)
    if status == 429 or code in _LIMITED:
        return Retry("ratelimited", after=_retry_after(error), pause=True, cause=CAUSE)
    if code in DESTINATION_BROKEN:
        return Broken(code, words=words, cause=CAUSE if code in _OF_THE_TOKEN else "")
    if code in PAYLOAD_BROKEN:
        return Rejected(code, words=words)
    reason = code or ("bad answer" if status == 200 else f"http {status}")
    unclear = status >= 500 or (not code and status < 400)
    shared = not code or code in TRANSIENT | AMBIGUOUS
    return Retry(reason, ambiguous=code in AMBIGUOUS or unclear, words=words, cause=CAUSE if shared else "")


def _retry_after(error: SlackApiError) -> Millis | None:
    """https://docs.slack.dev/apis/web-api/rate-limits: in seconds"""
    headers = getattr(error.response, "headers", None) or {}
    value = next((value for name, value in headers.items() if name.casefold() == "retry-after"), None)
    try:
        return None if value is None else int(float(value) * SECOND)
    except (ValueError, OverflowError):
        return None
