"""Hosts have one spelling, and the list covers what it says."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from models.errors import OptionError
from service.urls.hosts import AllowedHosts, Host, plain_host


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Pictures.Example.ORG", "pictures.example.org"),
        ("pictures.example.org.", "pictures.example.org"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher\u3002example", "xn--bcher-kva.example"),  # decomposed, and an ideographic full stop
        ("my_bucket.store.example", "my_bucket.store.example"),
        ("192.0.2.1", IPv4Address("192.0.2.1")),
        ("\uff11\uff19\uff12.0.2.1", IPv4Address("192.0.2.1")),  # full-width digits
        ("[2001:DB8::1]", IPv6Address("2001:db8::1")),
        ("[::ffff:127.0.0.1]", IPv6Address("::ffff:127.0.0.1")),
    ],
)
def test_a_host_has_one_spelling(written: str, plain: Host) -> None:
    assert plain_host(written) == plain


@pytest.mark.parametrize(
    "written",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "127.0.0.0x1",
        "0177.0.0.1",
        "example.0x",
        "1.2.3.4.5",
        "a..b",
        ".example",
        "example..",
        "-a.example",
        "a" * 64 + ".example",
        "a." * 127 + "example",
        "%31.example",
        "a b",
        "",
        "[fe80::1%eth0]",
        "[192.0.2.1]",
        "[::1",
    ],
)
def test_what_is_neither_a_name_nor_an_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain_host(written)


LISTED = "a.example, *.b.example, c.example:8443, *.d.example:8080, 192.0.2.1, [2001:db8::1]:81"


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("a.example", 80, True),
        ("a.example", 443, True),
        ("a.example", 8443, False),
        ("x.a.example", 443, False),
        ("nota.example", 443, False),
        ("a.example.evil.example", 443, False),
        ("x.b.example", 443, True),
        ("x.y.b.example", 443, True),
        ("b.example", 443, False),
        ("xb.example", 443, False),
        ("c.example", 8443, True),
        ("c.example", 443, False),
        ("x.d.example", 8080, True),
        ("x.d.example", 443, False),
        (IPv4Address("192.0.2.1"), 80, True),
        (IPv4Address("192.0.2.2"), 80, False),
        (IPv6Address("2001:db8::1"), 81, True),
        (IPv6Address("2001:db8::1"), 80, False),
    ],
)
def test_the_list_covers_what_it_says(host: Host, port: int, allowed: bool) -> None:
    assert AllowedHosts.parse(LISTED).allow(host, port) is allowed


def test_any_host_is_allowed_at_the_ports_of_the_web_and_named_by_none() -> None:
    hosts = AllowedHosts.parse("*, a.example")
    assert hosts.allow("b.example", 443)
    assert hosts.allow(IPv4Address("192.0.2.1"), 80)
    assert not hosts.allow("b.example", 6379)
    assert hosts.name("a.example", 443)
    assert not hosts.name("b.example", 443)


def test_nothing_is_allowed_by_an_empty_list() -> None:
    assert AllowedHosts.parse(" , ").entries == ()
    assert not AllowedHosts.parse("").allow("a.example", 443)


@pytest.mark.parametrize(
    "entry",
    ["http://a.example", "a.example/x", "a.example:0", "a.example:99999", "*a.example", "*.127.0.0.1", "a:b"],
)
def test_an_entry_that_is_no_host_is_named(entry: str) -> None:
    with pytest.raises(OptionError, match="LOOKALIKE_URL_HOSTS") as caught:
        AllowedHosts.parse(f"good.example,{entry}")
    assert repr(entry) in str(caught.value)
