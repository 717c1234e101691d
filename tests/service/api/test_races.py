"""Collections that come and go while others use them: nobody meets a fault of the server."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx2
from starlette.testclient import TestClient

SECONDS = 2
HERE = "/v1/collections/a"

REQUESTS: dict[str, Callable[[TestClient], httpx2.Response]] = {
    "make": lambda client: client.put(HERE, json={"dimension": 2}),
    "enrol": lambda client: client.post(f"{HERE}/items", json={"items": [{"id": "x", "vector": [1, 2]}]}),
    "drop": lambda client: client.delete(HERE),
    "list": lambda client: client.get("/v1/collections"),
    "describe": lambda client: client.get(HERE),
    "search": lambda client: client.post(f"{HERE}/search", json={"queries": [[1, 2]]}),
    "items": lambda client: client.get(f"{HERE}/items"),
    "ready": lambda client: client.get("/health/ready"),
}


def test_dropping_a_collection_in_use_gives_no_5xx(client: TestClient) -> None:
    end = time.monotonic() + SECONDS
    seen: Counter[tuple[str, int]] = Counter()
    broken: list[str] = []

    def repeat(name: str, request: Callable[[TestClient], httpx2.Response]) -> None:
        while time.monotonic() < end:
            answer = request(client)
            seen[name, answer.status_code] += 1
            if answer.status_code not in (200, 201, 404):
                broken.append(f"{name}: {answer.status_code} {answer.text}")

    threads = [threading.Thread(target=repeat, args=pair) for pair in REQUESTS.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    assert seen["list", 200] == sum(count for (name, _), count in seen.items() if name == "list") > 0
    assert seen["ready", 200] == sum(count for (name, _), count in seen.items() if name == "ready") > 0
    assert seen["drop", 200] > 0
    assert seen["search", 404] + seen["search", 200] > 0
