"""Email over SMTP: one thread a conversation, and digests."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from router.channels import email_drawing
from router.channels.base import ChannelSpec
from router.channels.email_digest import DIGEST_FILE_NOTE, digest_file, leaves_out_alerts
from router.channels.email_headers import bare_address, list_id
from router.channels.email_import import EmailImport
from router.channels.email_layout import (
    FILE,
    FILE_NOTE,
    HTML,
    HTML_SHARE,
    MAX_ATTACHED_BYTES,
    MAX_MAIL_BYTES,
    MAX_SUBJECT_CHARS,
    PLAIN,
    TEXT,
    fitted,
    whole,
)
from router.channels.email_mime import frame_size, mail_bytes, plain_mail_bytes
from router.channels.email_settings import DigestOptions, EmailOptions, EmailSettings
from router.channels.provider_words import masked_outcome
from router.model import (
    MINUTE,
    SECOND,
    Conversation,
    Destination,
    LaneLimits,
    Message,
    Outcome,
    Rate,
    Retry,
    SharedLimits,
)
from router.network import DIRECT, Network
from router.render import Templates
from router.render.words import line, moment

if TYPE_CHECKING:
    import aiosmtplib

# Characters of the names of a storm's groups. What a mail does not hold is in its attached file.
STORM_ROOM = 200_000
# See :func:`router.channels.email_headers.list_id`.
_MAX_LIST_NAME_CHARS = 100
_TIMEOUT_SECONDS = 20
# For a whole attempt: a smarthost may delay its answer at each step.
_MAX_TIMEOUTS_PER_ATTEMPT = 3
_MIN_ROOM_BYTES = 30_000
"""Room for text and HTML even if the headers name very many recipients."""
_NO_ATOM_CHARS = re.compile(r"[^A-Za-z0-9.]+")


class EmailChannel:
    def __init__(
        self, settings: EmailSettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds for each exchange with the smarthost; an attempt may take three times as long"""
        self._settings = settings
        self._network = network
        self._proxy_tls = network.tls_context()
        self._tls = self._proxy_tls
        if settings.certificates:
            self._tls = replace(network, ca_certificates=settings.certificates).tls_context()
        self._timeout = timeout

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        kind = "digest" if conversation.digest else "storm" if conversation.storm else "email"
        values = templates.values(conversation)
        subject, fallback = templates.fill(
            f"{kind}.txt.j2",
            values,
            lambda words: PLAIN.clip(line(words("subject")), MAX_SUBJECT_CHARS, "the subject"),
        )
        options = destination.options
        body = {
            "subject": subject or "Alert",
            "to": list(options.to),
            "from": self._settings.from_,
            "reply_to": options.reply_to or "",
            "date": format_datetime(moment(conversation.now, ZoneInfo("UTC"))),
            "message_id": self._message_id(conversation),
            "headers": {**options.headers, **self._headers(destination, conversation)},
        }
        parts, failed = _parts(templates, kind, values, MAX_MAIL_BYTES - frame_size(body))
        return Message("digest" if kind == "digest" else "email", {**body, **parts}, fallback or failed)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:  # noqa: ARG002
        from router.channels.email_smtp import CAUSE, Access, Mail, deliver
        from router.channels.email_tunnel import TunnelError

        settings, body = self._settings, message.body
        password = settings.password.get_secret_value() if settings.password is not None else ""
        login = (settings.username, password) if settings.username is not None else None
        mail = Mail(
            sender=bare_address(body["from"]),
            to=[bare_address(address) for address in body["to"]],
            whole=mail_bytes(body),
            plain=plain_mail_bytes(body),
        )
        known = {"first": conversation.remote.get("first", body["message_id"])}
        access = Access(settings.security == "starttls", login)
        try:
            async with asyncio.timeout(_MAX_TIMEOUTS_PER_ATTEMPT * self._timeout):
                async with self._client() as client:
                    outcome = await deliver(client, access, mail, conversation, known)
        except TunnelError as error:
            outcome = Retry("proxy failed", words=str(error), cause=CAUSE)
        except TimeoutError:
            return Retry("timeout", ambiguous=True, cause=CAUSE)
        # A server may quote the login that it was sent: https://www.rfc-editor.org/rfc/rfc4616
        secrets = [password, f"\0{settings.username}\0{password}"] if password else []
        return masked_outcome(outcome, [*secrets, *self._network.secrets])

    @asynccontextmanager
    async def _client(self) -> "AsyncIterator[aiosmtplib.SMTP]":
        """Yield a client that is not connected yet.

        :raises TunnelError: the smarthost can't be reached through the proxy
        """
        import aiosmtplib

        from router.channels.email_tunnel import open_tunnel

        host, port = self._settings.address
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            use_tls=self._settings.security == "implicit",
            start_tls=False,
            timeout=self._timeout,
            local_hostname=self._settings.ehlo_name,
            tls_context=self._tls,
        )
        proxy = self._network.tunnel_for(host, port)
        if proxy is None:
            yield client
            return
        async with open_tunnel(proxy, host, port, open_within=self._timeout, tls=self._proxy_tls) as tunnel:
            client.port, client.sock = None, tunnel
            yield client

    async def close(self) -> None:
        """Do nothing: no connection stays open between mails."""

    def _message_id(self, conversation: Conversation) -> str:
        """Return the same id for every attempt at the same state, so that mail systems drop a duplicate."""
        name = f"{conversation.token}.{conversation.episode}.{conversation.revision}"
        return f"<{name}@{self._domain}>"

    def _headers(self, destination: Destination, conversation: Conversation) -> dict[str, str]:
        name = _NO_ATOM_CHARS.sub("-", destination.key)
        if len(name) > _MAX_LIST_NAME_CHARS:
            name = f"{destination.channel}-{hashlib.sha256(destination.key.encode()).hexdigest()[:16]}"
        headers = {
            # https://www.rfc-editor.org/rfc/rfc3834#section-5: no vacation replies to the pager
            "Auto-Submitted": "auto-generated",
            "List-Id": list_id(name, self._domain),
        }
        first = conversation.remote.get("first")
        if first and first != self._message_id(conversation):
            headers |= {"In-Reply-To": str(first), "References": str(first)}
        return headers

    @property
    def _domain(self) -> str:
        return bare_address(self._settings.from_).rpartition("@")[2]


def _parts(templates: Templates, kind: str, values: dict[str, Any], room: int) -> tuple[dict[str, str], bool]:
    """Return the text, the HTML and the attached file of a mail, and whether a template failed.

    :param kind: the beginning of the templates' names
    :param room: bytes for text and HTML together
    """
    room = max(room, _MIN_ROOM_BYTES)
    in_text = partial(templates.fill, f"{kind}.txt.j2", values)
    in_html = partial(templates.fill, f"{kind}.html.j2", values)
    html_room = int(room * HTML_SHARE)
    is_digest = kind == "digest"
    file_note = [DIGEST_FILE_NOTE if is_digest else FILE_NOTE]
    note = file_note if is_digest and leaves_out_alerts(values) else []
    html, html_failed = in_html(partial(whole, room=html_room, form=HTML, note=note))
    text_room = room if html_failed else room - html_room
    text, text_failed = in_text(partial(whole, room=text_room, form=TEXT, note=note))
    fits = text is not None and (html is not None or html_failed)
    attachment = ""
    if note or not fits:
        file = partial(fitted, room=MAX_ATTACHED_BYTES, form=FILE)
        attachment = digest_file(values, MAX_ATTACHED_BYTES) if is_digest else in_text(file)[0]
        attachment += "\n"
    if not fits:
        text, _ = in_text(
            partial(fitted, room=text_room, form=TEXT, note=file_note, may_be_whole=text is not None)
        )
        if not html_failed:
            html, html_failed = in_html(
                partial(fitted, room=html_room, form=HTML, note=file_note, may_be_whole=html is not None)
            )
    # The plain facts are no HTML.
    has_html = not (html_failed or text_failed)
    parts = {"text": f"{text}\n", "html": html if html and has_html else "", "attachment": attachment}
    return parts, not has_html


_PLACEHOLDER = {"smarthost": "localhost:587", "from": "alerts@example.com"}
# No standard has limits. Postfix allows 50 connections of one client
# (https://www.postfix.org/postconf.5.html#smtpd_client_connection_count_limit). For a smarthost that allows fewer,
# routes.yaml can set a limit.
_MAX_CONNECTIONS = 4
_SMARTHOST = SharedLimits(max_concurrency=_MAX_CONNECTIONS)
EMAIL = ChannelSpec(
    name="email", title="Email", nothing_sent="No email yet.",
    section="email", settings=EmailSettings, options=EmailOptions, make=EmailChannel,
    limits=LaneLimits(Rate(2, SECOND, burst=10), max_concurrency=_MAX_CONNECTIONS), shared=_SMARTHOST,
    placeholder=_PLACEHOLDER, storm_every=5 * MINUTE, storm_room=STORM_ROOM, importer=EmailImport,
    draw=email_drawing.draw, html_of=email_drawing.html_of, remote_after=email_drawing.remote_after, updates=False,
)  # fmt: skip
DIGEST = ChannelSpec(
    name="digest", title="Digest", nothing_sent="No digest yet.",
    section="email", settings=EmailSettings, options=DigestOptions, make=EmailChannel,
    limits=LaneLimits(Rate(1, SECOND, burst=5)), shared=_SMARTHOST, placeholder=_PLACEHOLDER,
    draw=email_drawing.draw, html_of=email_drawing.html_of, updates=False, digest=True,
)  # fmt: skip

__all__ = ["DIGEST", "EMAIL", "STORM_ROOM", "DigestOptions", "EmailChannel", "EmailOptions", "EmailSettings"]
