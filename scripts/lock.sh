#!/bin/sh
# Resolve pyproject.toml into requirements.lock: every package but torch, for every platform, with
# hashes and without addresses. torch stays apart, because its build depends on the machine; so do
# the CUDA packages that only its GPU builds need and bring themselves.
# Usage: scripts/lock.sh PYTHON
set -eu
python=$1
links=$("$python" -m pip config get global.find-links 2>/dev/null || true)
overrides=$(mktemp)
trap 'rm -f "$overrides"' EXIT
for package in triton cuda-bindings cuda-toolkit nvidia-cudnn-cu13 nvidia-cusparselt-cu13 \
    nvidia-nccl-cu13 nvidia-nvshmem-cu13; do
    echo "$package ; python_version < '3'" >>"$overrides"
done
"$(dirname "$python")/uv" pip compile pyproject.toml --extra onnx --extra dev --extra fuzz \
    --universal --python-version 3.11 --generate-hashes --no-emit-package torch --no-emit-package setuptools \
    --override "$overrides" --no-annotate --no-header --no-emit-index-url ${links:+--find-links "$links"} \
    --upgrade --quiet --output-file requirements.lock
