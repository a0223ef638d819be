"""TLS of the server: its certificate, its key, and the authority of client certificates.

The files are read again when they change, for example after a renewal. New connections use the new files without a
restart. If new files can't be used, the old ones stay in force.
"""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from router.clock import Clock
from router.config import FileIdentity, identify_file
from router.metrics import Metrics
from router.model import SECOND, Millis
from router.threads import Threads

log = structlog.get_logger(__name__)

LOOK_EVERY: Millis = 5 * SECOND
"""How often the files are compared with those in force."""


class TlsError(Exception):
    """The files can't be used. The message names the file, and says what to do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of the server, in PEM format."""

    certificate: Path
    """The certificate, followed by the intermediate ones."""
    key: Path
    """The private key, not encrypted."""
    client_ca: Path | None = None
    """Certificates of authorities. A client needs a certificate of one of them; None: clients need none."""

    def __iter__(self) -> Iterator[Path]:
        yield self.certificate
        yield self.key
        if self.client_ca is not None:
            yield self.client_ca


class Certificates:
    """The TLS settings in force, and the watch over their files.

    :param clock: when to look at the files
    """

    def __init__(self, files: TlsFiles, clock: Clock, metrics: Metrics) -> None:
        self._files = files
        self._clock = clock
        self._metrics = metrics
        self._threads = Threads("tls-files", 1)
        self._seen: tuple[FileIdentity, ...] = ()
        """The files that were tried last."""
        self._context: ssl.SSLContext | None = None

    async def load(self) -> None:
        """Read the files. :raises TlsError: they can't be used"""
        self._seen = await self._threads.run(self._identify)  # before the load, so that no change is missed
        self._context = await self._threads.run(make_context, self._files)

    def context(self) -> ssl.SSLContext:
        """Return the settings for a new connection."""
        assert self._context is not None  # noqa: S101  (the service loads them before it listens)
        return self._context

    async def watch(self) -> None:
        """Load the files again when they change, without end."""
        never = asyncio.Event()
        while True:
            await self._clock.wait(never, self._clock.now() + LOOK_EVERY)
            await self._look()

    def close(self) -> None:
        self._threads.shutdown()

    async def _look(self) -> None:
        if await self._threads.run(self._identify) == self._seen:
            return
        try:
            await self.load()
        except TlsError as error:
            self._metrics.tls_loaded(is_good=False)
            log.error("the TLS files can't be used; the ones before stay in force", error=str(error))  # noqa: TRY400  (the message says all)
        else:
            self._metrics.tls_loaded(is_good=True)
            log.info("the TLS files were loaded again", files=[str(each) for each in self._files])

    def _identify(self) -> tuple[FileIdentity, ...]:
        return tuple(identify_file(each) for each in self._files)


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """Read the files, and return the settings of a server: TLS 1.2 or newer.

    :raises TlsError: a file can't be used
    """
    for path in files:
        _check_readable(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, files)
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise TlsError(_no_certificate(files.client_ca, "--tls-client-ca", error)) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except (OSError, ValueError) as error:  # a ValueError: the path has a null character
        reason = getattr(error, "strerror", None) or error
        raise TlsError(f"{path}: {reason}; give a file in PEM format that the router may read") from None


def _load_pair(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Load the certificate and its key. :raises TlsError: which of them is wrong"""
    certificate, key = files.certificate, files.key
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _EncryptedKeyError:
        raise TlsError(
            f"{key}: the private key is encrypted; give a key without a password (openssl pkey -in OLD -out NEW)"
        ) from None
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise TlsError(
                f"{key}: the private key does not belong to the certificate {certificate}; give the key of that certificate"
            ) from None
        try:  # OpenSSL does not say which of the two files is wrong
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
        except (ssl.SSLError, OSError):
            raise TlsError(_no_certificate(certificate, "--tls-cert", error)) from None
        raise TlsError(
            f"{key}: no private key that can be used ({_words(error)}); give --tls-key a private key in PEM format"
        ) from None


class _EncryptedKeyError(Exception):
    pass


def _refuse_password() -> str:
    """Called by OpenSSL for an encrypted key. Without it, OpenSSL asks for the password on the terminal."""
    raise _EncryptedKeyError


def _no_certificate(path: Path, option: str, error: Exception) -> str:
    return (
        f"{path}: no certificate that can be used ({_words(error)}); give {option} certificates in PEM format"
    )


def _words(error: Exception) -> str:
    """Return OpenSSL's reason without the number of its source line."""
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
