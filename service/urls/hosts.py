"""Hosts: the one spelling of a name, and the list of those that pictures are fetched from."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import idna

from models.errors import OptionError

__all__ = ["AllowedHosts", "Host", "plain_host"]

Host = str | IPv4Address | IPv6Address  # a name, or an address that stands where a name could

_WEB_PORTS = (80, 443)
_LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as the last label: the C library would read an address in it
_ENTRY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the list.

    Attributes:
        host: a host; None is any.
        below: whether it is the names below it that are meant.
        port: the only one; None is those of the web.
    """

    host: Host | None
    below: bool
    port: int | None

    def covers(self, host: Host, port: int) -> bool:
        if port not in (_WEB_PORTS if self.port is None else (self.port,)):
            return False
        if self.below:
            return isinstance(host, str) and host.endswith(f".{self.host}")
        return self.host is None or host == self.host


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that pictures are fetched from; none where URLs are off."""

    entries: tuple[_Entry, ...]

    @classmethod
    def parse(cls, text: str) -> "AllowedHosts":
        """Read `pictures.example.org, *.example.com, store.example.net:8443, *`.

        Raises:
            OptionError: an entry that is none.
        """
        return cls(tuple(_entry(one.strip()) for one in text.split(",") if one.strip()))

    def allow(self, host: Host, port: int) -> bool:
        """Say whether pictures are fetched from there at all."""
        return any(entry.covers(host, port) for entry in self.entries)

    def name(self, host: Host, port: int) -> bool:
        """Say whether an entry other than `*` covers it."""
        return any(entry.host is not None and entry.covers(host, port) for entry in self.entries)


def _entry(text: str) -> _Entry:
    parts = _ENTRY.fullmatch(text)
    host, port = (parts["host"], int(parts["port"] or 0)) if parts else ("", 0)
    try:
        if not host or port > 65_535 or (parts and parts["port"] and not port):
            raise ValueError(text)
        below = host.startswith("*.")
        known = None if host == "*" else plain_host(host[2:] if below else host)
        if below and not isinstance(known, str):
            raise ValueError(text)
    except ValueError:
        raise OptionError(
            f"LOOKALIKE_URL_HOSTS: {text!r} is no host. Write pictures.example.org, *.example.org for the "
            "names below it, either with :PORT, or * for any public host."
        ) from None
    return _Entry(known, below, port or None)


def plain_host(text: str) -> Host:
    """Return a host in its one spelling: an address, or a name in lower case, IDNA, without the root's dot.

    Raises:
        ValueError: neither; `2130706433` and `0x7f.1`, which the C library takes for addresses, among them.
    """
    if text.startswith("["):
        return IPv6Address(_unbracketed(text))
    if len(text) > _LONGEST_NAME + 1:
        raise ValueError("too long for a host's name")
    if not text.isascii():
        text = idna.encode(text, uts46=True).decode()  # IDNAError is a ValueError
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return IPv4Address(name)
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{name!r} is no host's name")
    return name


def _unbracketed(text: str) -> str:
    if not text.endswith("]") or "%" in text:  # a zone, which only this machine would know
        raise ValueError(f"{text!r} is no address")
    return text[1:-1]
