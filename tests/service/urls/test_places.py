"""URLs are taken apart as they are connected to, and what could be read in two ways is refused."""

import pytest

from service.errors import UrlError
from service.urls.places import is_url, parse_url


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://a.example", "a.example", "/"),
        ("HTTPS://A.Example:443/x.jpg?w=1#part", "a.example", "/x.jpg?w=1"),
        ("https://a.example:8443/", "a.example:8443", "/"),
        ("http://a.example./x", "a.example", "/x"),
        ("http://a.example:/x", "a.example", "/x"),
        ("http://[2001:db8::1]:81/x", "[2001:db8::1]:81", "/x"),
        ("http://a.example/größe%20é?q=ü&s=a/b?c", "a.example", "/gr%C3%B6%C3%9Fe%20%C3%A9?q=%C3%BC&s=a/b?c"),
        ("https://a.example/?X-Sign=a%2Fb", "a.example", "/?X-Sign=a%2Fb"),
    ],
)
def test_a_url_has_a_host_and_a_target(url: str, authority: str, target: str) -> None:
    place = parse_url(url)
    assert (place.authority, place.target) == (authority, target)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/x",
        "file:///etc/passwd",
        "gopher://a.example/",
        "http://",
        "http:///x",
        "http://user@a.example/",
        "http://user:password@a.example/",
        "http://a.example@127.0.0.1/",
        "http://a.example\\@b.example/",
        "http://a.example/\r\nHost: b.example",
        "http://a.example/a b",
        "http://a.example\t/",
        "http://a.example/\ud800",
        "http://a.example\u2100b.example/",  # which would become an a/c
        "http://a.example:65536/",
        "http://a.example:0/",
        "http://a.example:8o/",
        "http://a.example:80:80/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://a.example/" + "x" * 9000,
    ],
)
def test_what_is_no_such_url_is_refused(url: str) -> None:
    with pytest.raises(UrlError):
        parse_url(url)


def test_a_redirect_leads_from_where_it_was_found() -> None:
    place = parse_url("https://a.example/albums/1/x.jpg?secret=1")
    assert str(place.redirected("../2/y.jpg")) == "https://a.example/albums/2/y.jpg"
    assert str(place.redirected("//b.example/z")) == "https://b.example/z"
    assert place.redirected("?q=1").target == "/albums/1/x.jpg?q=1"


@pytest.mark.parametrize(
    "location", ["http://a.example/x", "file:///etc/passwd", "https://u@a.example/", "//[::1"]
)
def test_a_redirect_to_less_is_refused(location: str) -> None:
    with pytest.raises(UrlError):
        parse_url("https://a.example/").redirected(location)


def test_what_is_logged_has_no_query() -> None:
    assert str(parse_url("https://a.example:8443/x%0Ay?secret=1")) == "https://a.example:8443/x%0Ay"


def test_urls_are_told_from_base64() -> None:
    assert is_url("HTTP://a.example")
    assert is_url("https://a.example")
    assert not is_url("https//abc")
    assert not is_url("aGVsbG8=")
