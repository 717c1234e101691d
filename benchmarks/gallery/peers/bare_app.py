"""A bare handler: FastAPI and FAISS, and nothing that a service needs besides.

python -m benchmarks.gallery.peers.bare_app PORT INDEX EFFORT

The index is a file of FAISS over rows of length 1, by inner product; EFFORT is efSearch, 0 for a flat index.
"""

import sys
from typing import Any

import faiss
import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

__all__ = ["make_app"]


def make_app(path: str, effort: int) -> FastAPI:
    """Return the app: POST /search {"vector": [...], "k": 10} -> {"ids": [...], "distances": [...]}."""
    faiss.omp_set_num_threads(1)
    index: Any = faiss.read_index(path)
    if effort:
        index.hnsw.efSearch = effort
    ids = [f"p{row}" for row in range(index.ntotal)]
    app = FastAPI()

    @app.post("/search")
    async def search(request: Request) -> Response:
        asked = orjson.loads(await request.body())
        similarities, rows = index.search(np.asarray([asked["vector"]], np.float32), asked["k"])
        answer = {"ids": [ids[row] for row in rows[0]], "distances": 1 - similarities[0]}
        content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")

    @app.post("/effort")
    async def tune(request: Request) -> None:  # before it is measured
        index.hnsw.efSearch = orjson.loads(await request.body())["effort"]

    return app


def main() -> None:
    """Serve on a port of the loopback interface."""
    port, path, effort = sys.argv[1:]
    uvicorn.run(make_app(path, int(effort)), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
