"""Names to addresses, by the C library in threads, which it may keep for as long as it likes."""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address

from anyio import CapacityLimiter, to_thread

from service.urls.networks import Address

__all__ = ["LookUp", "Names", "look_up"]

LookUp = Callable[[str, int], list[Address]]


def look_up(host: str, port: int) -> list[Address]:
    """Return a name's addresses in the order in which they should be tried; blocks.

    Raises:
        OSError: there are none.
        ValueError: a name that the library cannot read, or an address with a zone.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(entry[4][0])) for entry in found))


class Names:
    """Looks names up, a bounded number at once; a look-up that nobody waits for any more keeps its place.

    Args:
        look_up: blocks for one name, as the function of that name does.
        at_once: how many threads it may block.
    """

    def __init__(self, look_up: LookUp, *, at_once: int) -> None:
        self._look_up = look_up
        self._places = CapacityLimiter(at_once)
        self._running: set[asyncio.Task[list[Address] | Exception]] = set()

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return a name's addresses.

        Raises:
            OSError, ValueError: as `look_up`.
        """
        place = object()
        await self._places.acquire_on_behalf_of(place)
        task = asyncio.create_task(self._run(place, host, port))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        found = await asyncio.shield(task)
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        """Leave the look-ups that still run; their threads end with the process."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, place: object, host: str, port: int) -> list[Address] | Exception:
        """Look up, and give the place back when the thread has ended, whoever still waits for it."""
        try:
            return await to_thread.run_sync(
                self._look_up, host, port, limiter=CapacityLimiter(1), abandon_on_cancel=True
            )
        except (OSError, ValueError) as error:
            return error
        finally:
            self._places.release_on_behalf_of(place)
