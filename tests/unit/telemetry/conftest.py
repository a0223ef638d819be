"""The authority and the TLS of the tests of the channels."""

from tests.unit.channels.conftest import certificate, tls

__all__ = ["certificate", "tls"]
