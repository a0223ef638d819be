"""Which servers are reached through which proxy, as in Go's httpproxy, and which settings are refused."""

from collections.abc import Mapping

import pytest

from router.network import (
    DIRECT,
    Network,
    Proxies,
    check_certificates,
    check_proxy_url,
    parse_exception,
    proxies_of,
)

PROXY = "http://proxy.example:3128"


def network(no_proxy: str) -> Network:
    return Network(proxies_of({"NO_PROXY": no_proxy}, proxy_url=PROXY)[0])


# https://cs.opensource.google/go/x/net/+/master:http/httpproxy/proxy_test.go has much the same table
@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("", "example.com", False),
        ("", "localhost", True),
        ("", "LOCALHOST", True),
        ("", "localhost:8080", True),
        ("", "127.0.0.1", True),
        ("", "127.4.5.6:9093", True),
        ("", "[::1]", True),
        ("", "[::1]:9093", True),
        ("", "[::2]", False),
        ("", "[::ffff:127.0.0.1]", True),
        ("", "notlocalhost", False),
        ("*", "example.com", True),
        ("a.example, *", "b.example", True),
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com", True),
        ("Example.COM", "example.com", True),
        ("example.com", "example.com.", True),
        ("example.com.", "example.com", True),
        ("example.com", "www.example.com", True),
        ("example.com", "badexample.com", False),
        ("example.com", "example.com.evil.net", False),
        (".example.com", "example.com", False),
        (".example.com", "www.example.com", True),
        (".example.com", "badexample.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", True),
        ("example.com:443", "example.com", True),
        ("example.com:8443", "example.com", False),
        ("example.com:8443", "www.example.com:8443", True),
        (".example.com:8443", "www.example.com:8444", False),
        ("a.com,,b.com", "b.com", True),
        ("a.com b.com", "b.com", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("192.168.1.1", "192.168.1.1", True),
        ("192.168.1.1", "192.168.1.2", False),
        ("192.168.1.1:443", "192.168.1.1", True),
        ("192.168.1.1:80", "192.168.1.1", False),
        ("192.168.1.1", "[::ffff:192.168.1.1]", True),
        ("1.1", "192.168.1.1", False),
        ("10.0.0.0/8", "10.200.3.4", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.1.2.3/8", "10.200.3.4", True),
        ("10.0.0.0/8:443", "10.200.3.4", True),
        ("10.0.0.0/8:8443", "10.200.3.4", False),
        ("10.0.0.0/8", "ten.example.com", False),
        ("fd00::/8", "[fd12::1]", True),
        ("fd00::/8", "[fe12::1]", False),
        ("[fd00::/8]:443", "[fd12::1]", True),
        ("[fd00::/8]:8443", "[fd12::1]", False),
        ("2001:db8::1", "[2001:db8:0:0::1]", True),
        ("[2001:db8::1]", "[2001:db8::1]", True),
        ("[2001:DB8::1]:443", "[2001:db8::1]", True),
        ("[2001:db8::1]:80", "[2001:db8::1]", False),
        ("0.0.0.0/0", "[2001:db8::1]", False),
        ("999.1.1.1,example.com", "example.com", True),
    ],
)
def test_an_exception_is_reached_directly(no_proxy: str, host: str, is_direct: bool) -> None:
    url = f"https://{host}/hook?token=x"
    assert network(no_proxy).proxy_for(url) == (None if is_direct else PROXY)


def test_a_tunnel_obeys_the_same_exceptions() -> None:
    settings = network("mail.example, 10.0.0.0/8:25")
    assert settings.tunnel_for("smtp.example", 587) == PROXY
    assert settings.tunnel_for("mail.example", 587) is None
    assert settings.tunnel_for("10.1.1.1", 25) is None
    assert settings.tunnel_for("10.1.1.1", 587) == PROXY
    assert settings.tunnel_for("::1", 587) is None


HTTP, HTTPS, ALL = "http://h.example:1", "http://s.example:2", "https://a.example:3"


@pytest.mark.parametrize(
    ("environ", "http", "https", "tunnel"),
    [
        ({}, None, None, None),
        ({"HTTP_PROXY": HTTP}, HTTP, None, None),
        ({"HTTPS_PROXY": HTTPS}, None, HTTPS, None),
        ({"http_proxy": HTTP, "https_proxy": HTTPS}, HTTP, HTTPS, None),
        ({"ALL_PROXY": ALL}, ALL, ALL, ALL),
        ({"all_proxy": ALL, "HTTPS_PROXY": HTTPS}, ALL, HTTPS, ALL),
        ({"HTTP_PROXY": HTTP, "http_proxy": ALL}, ALL, None, None),
        ({"HTTP_PROXY": HTTP, "http_proxy": ""}, HTTP, None, None),
        ({"HTTPS_PROXY": HTTPS, "https_proxy": " "}, None, HTTPS, None),
        ({"HTTPS_PROXY": "s.example:2"}, None, HTTPS, None),
        ({"HTTPS_PROXY": " "}, None, None, None),
    ],
)
def test_the_environment_names_proxies(
    environ: Mapping[str, str], http: str | None, https: str | None, tunnel: str | None
) -> None:
    proxies, ignored = proxies_of(environ)
    settings = Network(proxies)
    assert settings.proxy_for("http://x.example/") == http
    assert settings.proxy_for("https://x.example/") == https
    assert settings.tunnel_for("x.example", 587) == tunnel
    assert ignored == ()


def test_the_settings_replace_the_environment() -> None:
    environ = {"HTTPS_PROXY": HTTPS, "ALL_PROXY": "socks5://x", "NO_PROXY": "a.example,10.0.0.0/99"}
    proxies, ignored = proxies_of(environ, proxy_url=PROXY, no_proxy=[parse_exception("b.example")])
    assert ignored == ()
    assert Network(proxies).proxy_for("https://a.example") == PROXY
    assert Network(proxies).proxy_for("https://b.example") is None


def test_wrong_variables_are_ignored_and_reported() -> None:
    environ = {"ALL_PROXY": "socks5://u:p4ss@x", "no_proxy": "10.0.0.0/99,b.example,c.example:0"}
    proxies, ignored = proxies_of(environ)
    assert proxies == Proxies(exceptions=(parse_exception("b.example"),))
    assert ignored == (
        "the entry '10.0.0.0/99' of no_proxy is ignored: it is no CIDR block",
        "the entry 'c.example:0' of no_proxy is ignored: it has an invalid port",
        "ALL_PROXY is ignored: it is no http:// or https:// address",
    )


@pytest.mark.parametrize(
    "entry",
    ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "example.com/8", "http://a.example", "a b", "a.example:65536",
     "a.example:0", "10.0.0.999", "a*.example", "**", "[::1", "::g", "user@a.example"],
)  # fmt: skip
def test_an_invalid_exception_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"; write (it like|one from)"):
        parse_exception(entry)


@pytest.mark.parametrize(
    "url",
    ["", "proxy.example", "socks5://proxy.example", "http://", "http://:3128", "http://a.example:0", "http://a:x",
     "http://a.example/path", "http://a.example?x", "http://a.example\nX: y", "http://[::1"],
)  # fmt: skip
def test_an_unusable_proxy_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no proxy that can be used"):
        check_proxy_url(url)
    assert check_proxy_url("https://u:p@[::1]:3128/")


@pytest.mark.parametrize("url", ["", "nothing", "https://[::1", "https://a.example:x/", "ftp://a.example/"])
def test_an_address_that_is_not_of_the_web_has_no_proxy(url: str) -> None:
    assert network("").proxy_for(url) is None


def test_an_empty_no_proxy_does_not_hide_the_one_in_capitals() -> None:
    proxies, _ = proxies_of({"HTTPS_PROXY": HTTPS, "NO_PROXY": "x.example", "no_proxy": ""})
    assert Network(proxies).proxy_for("https://x.example/") is None


def test_passwords_are_secrets_and_no_repr_shows_them() -> None:
    settings = Network(proxies_of({}, proxy_url="http://u:p%40ss@x.example")[0])
    assert set(settings.secrets) == {"http://u:p%40ss@x.example", "p%40ss", "p@ss", "u:p@ss"}
    assert "t0ken" in Network(proxies_of({}, proxy_url="http://t0ken@x.example")[0]).secrets
    assert "ss@x" not in repr(settings)
    assert DIRECT.secrets == network("").secrets == ()


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        ("", "has no certificate"),
        ("-----BEGIN PRIVATE KEY-----", "has no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can't be read"),
        ("-----BEGIN CERTIFICATE-----\n", "can't be read"),
    ],
)
def test_a_file_without_certificates_is_refused(pem: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_certificates(pem)
