#!/bin/sh
# Install the project into the environment of PYTHON, at the versions of requirements.lock.
# Usage: scripts/install.sh PYTHON [uv pip install arguments]; without arguments: editable, for development.
#
# torch==2.13.0 comes from pip's own find-links where there is one; elsewhere TORCH_BACKEND (cpu by
# default, or auto, cu128, ...) chooses its build.
set -eu
python=$1
shift
[ $# -gt 0 ] || set -- --editable '.[dev,onnx]'
"$python" -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
UV_FIND_LINKS=$("$python" -m pip config get global.find-links 2>/dev/null || true)
if [ -n "$UV_FIND_LINKS" ]; then
    export UV_FIND_LINKS
else
    unset UV_FIND_LINKS
    export UV_TORCH_BACKEND="${TORCH_BACKEND:-cpu}"
fi
"$python" -m uv pip install --python "$python" --constraint requirements.lock "$@"
