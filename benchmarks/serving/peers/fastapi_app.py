"""A plain FastAPI with a route in its pool of threads: each request decodes and encodes its picture.

python -m benchmarks.serving.peers.fastapi_app PORT
"""

import sys
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI
from fastapi.responses import ORJSONResponse

from benchmarks.serving.peers.engine import open_encode, open_preparation

preparation, encode = open_preparation(), open_encode()
app = FastAPI(default_response_class=ORJSONResponse)


@app.post("/embed")
def embed(image: Annotated[bytes, Body(media_type="image/jpeg")]) -> Any:
    """Embed the picture that is the body."""
    return ORJSONResponse({"embedding": encode(preparation.decode(image)[None])[0].tolist()})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
