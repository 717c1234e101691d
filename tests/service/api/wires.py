"""What a client does by hand: data URIs, safetensors bodies, and a check of every problem."""

import base64
import json
import time
from typing import Any

import httpx2
import numpy as np
from safetensors.numpy import load, save
from starlette.testclient import TestClient

SAFETENSORS = "application/x-safetensors"


PATIENCE_S = 30


def until_ready(client: TestClient) -> None:
    """Wait until all collections are open."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := client.get("/health/ready")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.01)


def until_kept(client: TestClient, path: str) -> str:
    """Wait until a backup is not running any more, and return its state."""
    deadline = time.monotonic() + PATIENCE_S
    while (state := client.get(path).raise_for_status().json()["state"]) == "running":
        assert time.monotonic() < deadline
    return str(state)


def until_erased(client: TestClient, path: str) -> dict[str, Any]:
    """Wait until no file of a collection holds what was erased, and return what is told of it.

    That is at once, save while its upkeep makes a snapshot.
    """
    deadline = time.monotonic() + PATIENCE_S
    while (described := client.get(path).raise_for_status().json())["erasing"]:
        assert time.monotonic() < deadline
    return dict(described)


def data_uri(file: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(file).decode()}"


def pack(fields: dict[str, Any], **tensors: Any) -> dict[str, Any]:
    """Return the arguments of a request with a safetensors body, asking for safetensors back."""
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return {
        "content": save(arrays, metadata={"json": json.dumps(fields)}),
        "headers": {"content-type": SAFETENSORS, "accept": SAFETENSORS},
    }


def unpack(answer: httpx2.Response) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return the JSON and the tensors of a safetensors answer."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == SAFETENSORS
    header = json.loads(answer.content[8 : 8 + int.from_bytes(answer.content[:8], "little")])
    return json.loads(header["__metadata__"]["json"]), load(answer.content)


def assert_problem(answer: httpx2.Response, status: int, slug: str, *words: str) -> dict[str, Any]:
    """Check that an answer is a problem of this status and slug whose sentence has these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"/problems/{slug}", problem
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    for word in words:
        assert word in problem["detail"], problem
    assert "Traceback" not in answer.text
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return problem
