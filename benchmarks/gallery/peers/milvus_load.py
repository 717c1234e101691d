"""Fill Milvus; runs in its environment, and so imports nothing of the project.

python milvus_load.py PORT VECTORS.npy M EF_CONSTRUCTION
"""

import sys
import time

import numpy as np
from pymilvus import DataType, MilvusClient

__all__: list[str] = []

_NAME = "bench"
_BATCH = 5_000


def main() -> None:
    """Make the collection, insert every row, build HNSW and load it."""
    port, path, m, ef_construction = sys.argv[1:]
    vectors = np.load(path, mmap_mode="r")
    client = MilvusClient(f"http://127.0.0.1:{port}")
    if client.has_collection(_NAME):
        client.drop_collection(_NAME)
    schema = client.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
    client.create_collection(_NAME, schema=schema)
    for start in range(0, len(vectors), _BATCH):
        rows = vectors[start : start + _BATCH].tolist()
        client.insert(_NAME, [{"id": f"p{start + i}", "vec": row} for i, row in enumerate(rows)])
    client.flush(_NAME)
    index = client.prepare_index_params()
    parameters = {"M": int(m), "efConstruction": int(ef_construction)}
    index.add_index("vec", index_type="HNSW", metric_type="COSINE", params=parameters)
    client.create_index(_NAME, index)
    while client.describe_index(_NAME, "vec").get("pending_index_rows", 0):
        time.sleep(0.5)
    client.load_collection(_NAME)


if __name__ == "__main__":
    main()
