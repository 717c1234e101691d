#!/bin/sh
# Install the servers that Lookalike is measured beside into an environment of their own.
# Usage: benchmarks/serving/install_peers.sh PYTHON VENV
#
# torch comes as scripts/install.sh has it. A server that cannot be installed is left out, and its reason stands
# in VENV/SERVER.failed; the versions of the others are those of requirements-peers.txt.
set -eu
python=$1
venv=$2
here=$(dirname "$0")
pins="$here/requirements-peers.txt"
if [ -f "$venv/installed" ] && cmp -s "$pins" "$venv/installed"; then
    exit 0
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
UV_FIND_LINKS=$("$venv/bin/python" -m pip config get global.find-links 2>/dev/null || true)
if [ -n "$UV_FIND_LINKS" ]; then
    export UV_FIND_LINKS
else
    unset UV_FIND_LINKS
    export UV_TORCH_BACKEND="${TORCH_BACKEND:-cpu}"
fi
install() {
    "$venv/bin/python" -m uv pip install --quiet --python "$venv/bin/python" --constraint "$pins" "$@"
}
install torch numpy pillow onnxruntime fastapi uvicorn orjson
for peer in litserve mosec bentoml 'ray[serve]'; do
    name=${peer%%[*}
    rm -f "$venv/$name.failed"
    install "$peer" 2>"$venv/$name.log" || tail -n 1 "$venv/$name.log" >"$venv/$name.failed"
done
cp "$pins" "$venv/installed"
