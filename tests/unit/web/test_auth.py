"""Which peers count as this machine."""

import pytest
from aiohttp.test_utils import make_mocked_request

from router.model import Source
from router.web.auth import Unauthorized, authenticate


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_loopback_is_this_machine(peer: str) -> None:
    request = make_mocked_request("POST", "/webhook").clone(remote=peer)
    assert authenticate(request, (), None) == Source("default")
    assert authenticate(request, (Source("lab"),), "lab") == Source("lab")


@pytest.mark.parametrize(
    "peer", ["192.0.2.1", "10.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "::ffff:192.0.2.1", "localhost", ""]
)
def test_every_other_peer_is_not(peer: str) -> None:
    request = make_mocked_request("POST", "/webhook").clone(remote=peer)
    with pytest.raises(Unauthorized, match="only this machine"):
        authenticate(request, (), None)
    with pytest.raises(Unauthorized, match="Credentials are missing"):
        authenticate(request, (Source("lab"),), None)


def test_credentials_count_from_anywhere() -> None:
    prod = Source("prod", bearer_token="s3cret")
    request = make_mocked_request("POST", "/webhook", headers={"Authorization": "Bearer s3cret"})
    assert authenticate(request.clone(remote="192.0.2.1"), (Source("lab"), prod), None) == prod
