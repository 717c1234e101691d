"""The science of Lookalike: distances, triplets and losses; encoders; learning. Imports no service."""

import os

# ONNX Runtime reports its use to its maker, and keeps a database for it, unless told before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
