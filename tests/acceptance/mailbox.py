"""A mailbox behind a real SMTP server."""

import asyncio
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP


class Mailbox:
    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.down = False
        self.port = 0
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, hostname="localhost"), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def subjects(self, to: str) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails if to in str(mail["To"])]

    async def until(self, ready: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(20), self._changed:
                await self._changed.wait_for(ready)
        except TimeoutError:
            raise AssertionError(
                f"it never came to that; mails: {[str(m['Subject']) for m in self.mails]}"
            ) from None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        if self.down:
            return "451 try again"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        missing = [name for name in ("From", "To", "Date", "Message-ID", "Subject") if not mail[name]]
        if missing:
            return f"554 missing {missing}"
        async with self._changed:
            self.mails.append(mail)
            self._changed.notify_all()
        return "250 kept"
