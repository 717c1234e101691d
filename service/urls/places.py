"""What a URL says: whom to connect to and what to ask for."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, urljoin, urlsplit

from service.errors import UrlError
from service.urls.hosts import Host, plain_host

__all__ = ["Place", "is_url", "parse_url"]

_PORTS = {"http": 80, "https": 443}
_LONGEST_URL = 8192
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(:(?P<port>[0-9]{0,5}))?")
_KEPT = "/%:@!$&'()*+,;=~-._"  # of a path, RFC 3986, section 3.3; the rest is written as %XX


@dataclass(frozen=True, slots=True)
class Place:
    """A URL taken apart.

    Attributes:
        scheme: http or https.
        host, port: whom to connect to.
        path: percent-encoded, without the query, which may hold a secret.
        target: path and query, as the request has them.
    """

    scheme: str
    host: Host
    port: int
    path: str
    target: str

    @property
    def authority(self) -> str:
        """Return host and port as the Host header has them."""
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def redirected(self, location: str) -> "Place":
        """Return where a redirect leads.

        Raises:
            UrlError: to something that is not fetched, or from https to http.
        """
        try:
            there = parse_url(urljoin(f"{self.scheme}://{self.authority}{self.target}", location))
        except ValueError as error:  # of urljoin; UrlError is one too
            raise UrlError(
                "Its server redirects to what is no URL that can be fetched.", refused=True
            ) from error
        if self.scheme == "https" and there.scheme == "http":
            raise UrlError("Its server redirects from https to http, which is not followed.", refused=True)
        return there


def is_url(text: str) -> bool:
    """Say whether a sample's string is a URL: no base64 has a colon."""
    return text[:8].lower().startswith(("http://", "https://"))


def parse_url(text: str) -> Place:
    """Take a URL apart.

    Raises:
        UrlError: another scheme, user and password, or no URL at all.
    """
    if len(text) > _LONGEST_URL:
        raise UrlError(
            f"The URL has {len(text):,} characters, and at most {_LONGEST_URL:,} are read.", refused=True
        )
    try:
        if _FORBIDDEN.search(text):
            raise ValueError(text)
        parts = urlsplit(text)
        authority = _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2])
        if authority is None or not authority["host"]:
            raise ValueError(text)
        host, port = plain_host(authority["host"]), int(authority["port"] or _PORTS.get(parts.scheme, 1))
        if not 1 <= port <= 65_535:
            raise ValueError(text)
    except ValueError:
        raise UrlError(
            "It is no URL that can be fetched. Write https://HOST/PATH, with a host's name or an address "
            "such as 192.0.2.1, and spaces as %20.",
            refused=True,
        ) from None
    if parts.scheme not in _PORTS:
        raise UrlError("Only http and https are fetched.", refused=True)
    if "@" in parts.netloc:
        raise UrlError(
            "URLs with a user or a password are not fetched. Leave out what is before the @.",
            refused=True,
        )
    path = quote(parts.path or "/", safe=_KEPT)
    query = f"?{quote(parts.query, safe=_KEPT + '?')}" if parts.query else ""
    return Place(parts.scheme, host, port, path, path + query)
