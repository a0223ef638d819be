"""Certificates for tests, made by the openssl command."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and of its key."""

    certificate: Path
    key: Path


class Authority:
    """An authority of its own, which issues certificates for 127.0.0.1."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        self._own = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl("req", "-x509", *_CURVE, "-days", "2", "-subj", f"/CN={name}", *_outputs(self._own))

    @property
    def file(self) -> Path:
        """The certificate of the authority."""
        return self._own.certificate

    def issue(self, name: str) -> Pair:
        pair = Pair(self._folder / f"{self.name}-{name}.pem", self._folder / f"{self.name}-{name}.key")
        _openssl("req", "-x509", *_CURVE, "-days", "2", "-subj", f"/CN={name}", "-CA", str(self._own.certificate),
                 "-CAkey", str(self._own.key), "-addext", "subjectAltName=IP:127.0.0.1",
                 "-addext", "basicConstraints=critical,CA:FALSE", *_outputs(pair))  # fmt: skip
        return pair


def encrypt(key: Path) -> Path:
    """Return a copy of a key that needs a password."""
    encrypted = key.with_suffix(".encrypted")
    _openssl("pkey", "-in", str(key), "-out", str(encrypted), "-aes256", "-passout", "pass:secret")
    return encrypted


def _outputs(pair: Pair) -> tuple[str, ...]:
    return "-out", str(pair.certificate), "-keyout", str(pair.key)


def _openssl(*arguments: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command: apt-get install openssl")
    subprocess.run([openssl, *arguments], check=True, capture_output=True)
