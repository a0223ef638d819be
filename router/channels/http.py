"""The HTTP transport of the channels: one session, one deadline for an attempt, bounded answers, status tables.

A channel that uses it adds what is specific to its provider: the requests of an attempt, a :class:`StatusTable`, and how
to read the provider's error codes. If an attempt has one request, a channel needs these lines::

    async def _post(self, destination, conversation, message) -> Outcome:
        answer = await self._http.request("POST", destination.options.url, json=message.body)
        return STATUSES.outcome(answer, conversation.now)

    outcome = await self._http.attempt(self._post(destination, conversation, message))
    return masked_outcome(outcome, secret_parts(url))
"""

import asyncio
import io
import json
import math
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from router.channels.provider_words import body_text, masked_outcome
from router.model import SECOND, Broken, Delivered, Millis, Outcome, Rejected, Retry
from router.network import Network

if TYPE_CHECKING:
    import aiohttp

USER_AGENT = "alert-router"
# No provider sends longer answers. The rest of a longer body is not read.
MAX_ANSWER_BYTES = 2**20
# Only this part of an answer is shown to people.
MAX_WORDS_BYTES = 16 * 2**10
_MAX_WAIT_SECONDS = 10**9

# https://www.rfc-editor.org/rfc/rfc9110#section-15.4: most clients turn a redirected POST into a GET without a body, and
# a redirect may take a secret to another server. So none is followed.
REDIRECTS = frozenset(range(300, 400))
# https://www.rfc-editor.org/rfc/rfc9110#section-15.6; 408: section-15.5.9; 425: rfc8470; 429: rfc6585
TRANSIENT_STATUSES = frozenset({408, 425, 429, *range(500, 600)})
REDIRECT_REASONS: Mapping[int, str] = dict.fromkeys(REDIRECTS, "redirect, not followed")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A provider's answer to one request. The body holds up to :data:`MAX_ANSWER_BYTES` bytes."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """The case of names does not matter."""
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def data(self) -> Mapping[str, Any]:
        """The JSON object in the body; empty if the body is anything else."""
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def words(self) -> str:
        """The body as one line of text to show; it may hold secrets."""
        return body_text(self.body[:MAX_WORDS_BYTES], self.headers.get("Content-Type", ""))


@dataclass(frozen=True, slots=True)
class StatusTable:
    """What a provider's HTTP statuses mean. It can also have the provider's own error codes, if they can't be mistaken
    for a status.

    A number that is in no set is tried again, like those in ``transient``.
    """

    transient: frozenset[int] = TRANSIENT_STATUSES
    broken: frozenset[int] = frozenset()
    """No message reaches the destination until a person repairs the address, the credentials, or the provider's side."""
    rejected: frozenset[int] = frozenset()
    """The message is refused; sending the same again can't help."""
    waits: frozenset[int] = frozenset({429})
    """Statuses whose Retry-After counts. https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3"""
    reasons: Mapping[int, str] = field(default_factory=dict)
    """A few words for people, by number."""

    @property
    def numbers(self) -> frozenset[int]:
        return self.transient | self.broken | self.rejected

    def reason(self, number: int, kind: str = "http") -> str:
        """Return the reason of an outcome, such as "http 404: nothing at this address"."""
        words = self.reasons.get(number)
        return f"{kind} {number}: {words}" if words else f"{kind} {number}"

    def outcome(self, answer: HttpAnswer, now: Millis, cause: str = "") -> Outcome:
        """Return what an answer means, if its status alone decides that."""
        return Delivered() if answer.is_success else self.failure(answer, now, cause=cause)

    def failure(
        self,
        answer: HttpAnswer,
        now: Millis,
        *,
        number: int | None = None,
        reason: str = "",
        retry_after: Any = None,
        cause: str = "",
    ) -> Retry | Broken | Rejected:
        """Return what an error answer means.

        :param now: epoch milliseconds; Retry-After may be a date
        :param number: the provider's own error code, if it counts instead of the status
        :param reason: the reason of the outcome; empty: the status and its words from ``reasons``
        :param retry_after: the wait that the body requests; None: the header Retry-After counts. See :func:`requested_wait`
        :param cause: the name of a cause that other destinations share, see :class:`router.model.Retry`
        """
        status = answer.status
        number, reason = status if number is None else number, reason or self.reason(status)
        if number in self.broken:
            return Broken(reason, words=answer.words, cause=cause)
        if number in self.rejected:
            return Rejected(reason, words=answer.words)
        wait = answer.headers.get("Retry-After") if retry_after is None else retry_after
        after = requested_wait(wait, now) if status in self.waits else None
        return Retry(
            reason,
            after=after,
            ambiguous=status >= 500,
            pause=status == 429,
            words=answer.words,
            cause=cause,
        )


def requested_wait(value: Any, now: Millis) -> Millis | None:
    """Return how many milliseconds a provider asks the router to wait before the next request; None: it asks for no wait.

    :param value: seconds, as a number or as text, or an HTTP date; see
        https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    :param now: epoch milliseconds
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return _until_date(value, now) if isinstance(value, str) else None
    if not math.isfinite(seconds):
        return None
    return math.ceil(max(0.0, min(seconds, _MAX_WAIT_SECONDS)) * SECOND)


def _until_date(text: str, now: Millis) -> Millis | None:
    try:
        date = parsedate_to_datetime(text.strip())
    except (ValueError, OverflowError):
        return None
    return max(0, int(date.replace(tzinfo=date.tzinfo or UTC).timestamp()) * SECOND - now)


class HttpTransport:
    """Makes the requests of one channel object. It does not retry, follow redirects, or keep cookies."""

    def __init__(self, network: Network, *, timeout: float, attempt_timeout: float | None = None) -> None:
        """:param network: the proxies and certificate authorities
        :param timeout: seconds for one request; at most half of it to connect
        :param attempt_timeout: seconds for all requests of an attempt; None: as for one request
        """
        self._network = network
        self._timeout = timeout
        self._attempt_timeout = attempt_timeout or timeout
        self._session: aiohttp.ClientSession | None = None

    async def attempt(self, work: Awaitable[Outcome], cause: str = "") -> Outcome:
        """Return the outcome of the work, or of the fault that ends it. The deadline is for the whole attempt."""
        from router.channels.http_faults import REQUEST_FAULTS, fault_outcome

        try:
            async with asyncio.timeout(self._attempt_timeout):
                return await work
        except REQUEST_FAULTS as error:
            # aiohttp quotes the proxy's address
            return masked_outcome(fault_outcome(error, cause), self._network.secrets)

    async def request(
        self, method: str, url: str, *, json: Any = None, data: bytes | None = None,
        headers: Mapping[str, str] | None = None, body_matters: bool = True,
    ) -> HttpAnswer:  # fmt: skip
        """Make one request and read the answer.

        :param json: the body, to be encoded; or ``data``: the body as it is
        :param body_matters: False if the status alone decides the outcome. Then the body of a success is not read, and a failure to
            read the body of an error is ignored.
        :raises aiohttp.ClientError: or another of ``http_faults.REQUEST_FAULTS``; ``http_faults.fault_outcome`` turns it into an outcome
        """
        from router.channels.http_faults import REQUEST_FAULTS

        payload = None if data is None else io.BytesIO(data)  # aiohttp warns about long bytes
        async with self.session.request(
            method,
            url,
            json=json,
            data=payload,
            headers=headers,
            proxy=self._network.proxy_for(url),
            allow_redirects=False,
            middlewares=(),
        ) as response:
            answer = HttpAnswer(response.status, response.headers, b"")
            if answer.is_success and not body_matters:
                return answer
            try:
                body = await _read(response.content)
            except REQUEST_FAULTS:
                if body_matters:
                    raise
                return answer
            return HttpAnswer(response.status, response.headers, body)

    @property
    def session(self) -> "aiohttp.ClientSession":
        """The session, for a provider's library. The library also needs the proxy, which the session does not have.

        The session is made on first use, because it belongs to the running loop.
        """
        import aiohttp

        from router.channels.http_faults import CheckedRequest, refuse_redirect

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout, connect=self._timeout / 2),
                connector=aiohttp.TCPConnector(ssl=self._network.tls_context() or True),
                trust_env=False,  # the network settings have the proxies of the environment already
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                request_class=CheckedRequest,
                middlewares=(refuse_redirect,),  # for libraries that don't set allow_redirects=False
            )
        return self._session

    async def close(self) -> None:
        """Close the session; the next request makes another."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read(content: "aiohttp.StreamReader") -> bytes:
    """Return the body, up to :data:`MAX_ANSWER_BYTES` bytes of it."""
    try:
        return await content.readexactly(MAX_ANSWER_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial
