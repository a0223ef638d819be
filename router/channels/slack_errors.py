"""What Slack's errors mean for a delivery: the table of codes, and the outcome of a fault."""

import re
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from router.channels.http import requested_wait
from router.channels.http_faults import fault_outcome
from router.model import Broken, Millis, Rejected, Retry

# https://docs.slack.dev/reference/methods/chat.postMessage#errors, …/chat.update#errors and
# …/conversations.history#errors. A code in none of these is tried again, as the transient ones are.
TRANSIENT = frozenset({
    "ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org",
    "external_channel_migrating",
})  # fmt: skip
# Slack may have done it all the same.
AMBIGUOUS = frozenset({"fatal_error", "internal_error"})
PAYLOAD_BROKEN = frozenset({
    "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "invalid_attachments",
    "too_many_attachments", "attachment_payload_limit_exceeded", "metadata_too_large", "invalid_metadata_format",
    "invalid_metadata_schema", "metadata_must_be_sent_from_app",
})  # fmt: skip
# The message does not exist any more, or takes no replies any more.
MESSAGE_GONE = frozenset({"message_not_found", "thread_not_found", "restricted_action_thread_locked"})
# The message exists and takes replies, but no edit.
EDIT_REFUSED = frozenset({"cant_update_message", "edit_window_closed"})
# A person has to repair these.
DESTINATION_BROKEN = frozenset({
    "channel_not_found", "not_in_channel", "is_archived", "is_inactive", "messages_tab_disabled", "restricted_action",
    "restricted_action_read_only_channel", "restricted_action_thread_only_channel",
    "missing_scope", "no_permission", "not_allowed_token_type",
    "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "access_denied",
    "accesslimited", "ekm_access_denied", "enterprise_is_restricted", "org_login_required", "team_not_found",
    "team_access_not_granted", "two_factor_setup_required", "method_deprecated", "deprecated_endpoint",
})  # fmt: skip
_RATE_LIMITED = frozenset({"ratelimited", "rate_limited"})

# What the SDK may raise. The last four follow when an answer is not the JSON object that the SDK expects.
FAULTS = (
    SlackClientError,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    AttributeError,
    TypeError,
    RecursionError,
)


# The message or the whole channel takes no replies, or none that are shown in the channel as well.
NO_THREADS = frozenset({
    "restricted_action_non_threadable_channel", "cannot_reply_to_message", "cant_broadcast_message",
})  # fmt: skip
# Those codes of DESTINATION_BROKEN that concern the token, which all channels share.
_TOKEN_BROKEN = frozenset({
    "missing_scope", "no_permission", "not_allowed_token_type", "invalid_auth", "not_authed", "token_revoked",
    "token_expired", "account_inactive", "access_denied", "accesslimited", "ekm_access_denied",
    "enterprise_is_restricted", "org_login_required", "team_not_found", "team_access_not_granted",
    "two_factor_setup_required", "method_deprecated", "deprecated_endpoint",
})  # fmt: skip
_KNOWN_CODES = (
    TRANSIENT
    | AMBIGUOUS
    | PAYLOAD_BROKEN
    | MESSAGE_GONE
    | EDIT_REFUSED
    | DESTINATION_BROKEN
    | _RATE_LIMITED
    | NO_THREADS
)
# What all channels of the token have in common.
CAUSE = "slack"


def code_of(error: SlackApiError) -> str:
    """Return Slack's error code, safe to show; empty if the answer has none."""
    data = getattr(error.response, "data", None)
    if isinstance(data, dict) and isinstance(data.get("error"), str):
        return re.sub(r"[^a-z0-9_]", "", data["error"].casefold())[:60] or "unknown"
    return ""


def is_unknown(error: SlackApiError) -> bool:
    """Return whether Slack refuses a message with a code that no table has. Then plain text is worth one try."""
    code = code_of(error)
    return bool(code) and code not in _KNOWN_CODES and _status(error) < 429


def failure_of(error: Exception, now: Millis) -> Retry | Broken | Rejected:
    """Return what an error of :data:`FAULTS` means for its call. No reason holds what was sent.

    :param now: epoch milliseconds
    """
    match error:
        case SlackApiError():
            return _api_failure(error, now)
        case OSError() | aiohttp.ClientError():
            return fault_outcome(error, CAUSE)
    return Retry("bad answer", ambiguous=True, cause=CAUSE)


def is_transient(error: SlackApiError) -> bool:
    """Return whether the same call can be expected to succeed later."""
    outcome = _api_failure(error, now=0)
    return isinstance(outcome, Retry) and (outcome.ambiguous or outcome.reason in TRANSIENT)


def _status(error: SlackApiError) -> int:
    # For an answer that is not JSON, the SDK gives aiohttp's response, which has `status` instead.
    response: Any = error.response
    status: int = response.status_code if hasattr(response, "status_code") else response.status
    return status


def _slack_words(error: SlackApiError) -> str:
    """Return what Slack says besides the code: the scope that is missing, or the error in a block.

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


def _api_failure(error: SlackApiError, now: Millis) -> Retry | Broken | Rejected:
    status, code, words = _status(error), code_of(error), _slack_words(error)
    if status == 429 or code in _RATE_LIMITED:
        return Retry("ratelimited", after=_retry_after(error, now), pause=True, cause=CAUSE)
    if code in DESTINATION_BROKEN:
        return Broken(code, words=words, cause=CAUSE if code in _TOKEN_BROKEN else "")
    if code in PAYLOAD_BROKEN:
        return Rejected(code, words=words)
    reason = code or ("bad answer" if status == 200 else f"http {status}")
    unclear = status >= 500 or (not code and status < 400)
    shared = not code or code in TRANSIENT | AMBIGUOUS
    return Retry(reason, ambiguous=code in AMBIGUOUS or unclear, words=words, cause=CAUSE if shared else "")


def _retry_after(error: SlackApiError, now: Millis) -> Millis | None:
    """https://docs.slack.dev/apis/web-api/rate-limits: in seconds"""
    headers = getattr(error.response, "headers", None) or {}
    value = next((value for name, value in headers.items() if name.casefold() == "retry-after"), None)
    return requested_wait(value, now)
