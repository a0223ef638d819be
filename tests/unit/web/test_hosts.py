"""Host names and origins: what is accepted, and properties of the parser."""

import socket

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from router.web.access.hosts import is_allowed_host, is_same_origin, origin_problem, split_host
from tests.examples import examples


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("localhost", ("localhost", None)),
        ("Router.Example.com:9099", ("router.example.com", 9099)),
        ("router.example.com.", ("router.example.com", None)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:9099", ("::1", 9099)),
        ("[fe80::1%25eth0]", ("fe80::1%25eth0", None)),
        *((bad, None) for bad in (
            "", ":80", "::1", "[::1", "[::1]x", "[x]", "a:b", "a:80:80", "a:99999", "a:-1", "a b", "a/b", "a@b", "u:p@b",
            "a\\b", "a%00", "[127.0.0.1]", "a" * 301, "ä", "a:٣", "a,b",
        )),
    ],
)  # fmt: skip
def test_a_host_is_split(text: str, split: tuple[str, int | None] | None) -> None:
    assert split_host(text) == split


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("localhost", True), ("127.0.0.1", True), ("192.0.2.7", True), ("::1", True), ("2001:db8::1", True),
        ("router.internal", True), ("alerts.example.com", True), ("a.b.example.com", True),
        (socket.gethostname().lower(), True),
        ("example.com", False), ("evilexample.com", False), (".example.com", False), ("example.com.evil.net", False),
        ("alerts.example.org", False), ("localhost.evil.net", False), ("127.0.0.1.nip.io", False), ("", False),
    ],
)  # fmt: skip
def test_hosts_are_allowed_by_name_or_below_a_wildcard(host: str, *, is_allowed: bool) -> None:
    assert is_allowed_host(host, "Router.internal", ("alerts.example.org.uk", "*.example.com")) is is_allowed


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": ""}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://router.example:9099"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind-a-proxy.example"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Origin": "http://router.example:9099"}, False),
        ({"Origin": "https://router.example:9099"}, False),
        ({"Origin": "http://router.example"}, True),
        ({"Origin": "http://evil.example:9099"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
    ],
)
def test_an_action_comes_from_the_own_pages_or_a_program(
    headers: dict[str, str], *, is_refused: bool
) -> None:
    request = make_mocked_request("POST", "/-/reload", headers={"Host": "router.example:9099", **headers})
    assert (origin_problem(request) is not None) is is_refused


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        ("https://a.example", "a.example", True),
        ("https://a.example", "a.example:443", True),
        ("http://a.example", "a.example:80", True),
        ("https://A.example:443", "a.EXAMPLE", True),
        ("http://[::1]:9099", "[::1]:9099", True),
        ("https://a.example:8443", "a.example", False),
        ("http://a.example", "a.example:443", False),
        ("ftp://a.example", "a.example", False),
        ("http://a.example/", "a.example", False),
        ("http://a.example@evil", "evil", False),
        ("http://user@a.example", "a.example", False),
        ("a.example", "a.example", False),
        ("http://", "", False),
        ("http://[", "[", False),
        ("\thttp://a.example", "a.example", False),
    ],
)
def test_an_origin_has_host_and_port_of_the_host_header(origin: str, host: str, *, is_same: bool) -> None:
    assert is_same_origin(origin, host) is is_same


_names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z0-9]{1,8}){0,3}", fullmatch=True)
_ports = st.none() | st.integers(1, 65_535)


@given(_names, _ports, st.sampled_from(["http", "https"]))
@examples(200)
def test_a_host_is_its_own_origin_with_any_case(name: str, port: int | None, scheme: str) -> None:
    host = name if port is None else f"{name}:{port}"
    assert split_host(host) == (name, port)
    assert is_same_origin(f"{scheme}://{host.upper()}", host)
    assert not is_same_origin(f"{scheme}://x{host}", host)
    assert not is_same_origin(f"{scheme}://{host}.evil", host) or port is not None


@given(st.text(max_size=60), st.text(max_size=60))
@examples(300)
def test_no_text_breaks_the_parser(one: str, other: str) -> None:
    split = split_host(one)
    if split is not None:
        assert split[0] == split[0].lower() != ""
        assert not set(split[0]) & set("/@ \t\\#?")
    if is_same_origin(one, other):
        assert split_host(other) is not None
        assert one.lower().startswith(("http://", "https://"))


@given(_names, st.text(max_size=20))
@examples(200)
def test_a_wildcard_allows_only_names_below_it(name: str, noise: str) -> None:
    if is_allowed_host(noise.lower(), "127.0.0.1", (f"*.{name}",)):
        known = {"localhost", socket.gethostname().lower(), socket.gethostname().lower().partition(".")[0]}
        is_address = set(noise) <= set("0123456789abcdefABCDEF.:%") and noise != ""
        assert noise.lower().endswith(f".{name}") or noise.lower() in known or is_address or "%" in noise
