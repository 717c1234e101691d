#!/bin/sh
# Start a server of its own and test its answers against its own description, with schemathesis.
# That valid-looking input is always accepted is not asked: no schema can say that a string decodes
# to a picture, or that all vectors of a request have one dimension.
# Usage: scripts/fuzz.sh BIN [schemathesis run arguments]
set -eu
bin=$1
shift
folder=$(mktemp -d)
"$bin/lookalike" serve --port 0 --data-dir "$folder/data" >"$folder/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server || true; rm -rf "$folder"' EXIT
url=
for _ in $(seq 120); do
    url=$(sed -n 's/.*running on \(http:[^ ]*\).*/\1/p' "$folder/log")
    [ -z "$url" ] || break
    sleep 0.5
done
[ -n "$url" ] || { cat "$folder/log" >&2; exit 1; }
"$bin/schemathesis" run "$url/openapi.json" --workers 1 --exclude-checks positive_data_acceptance "$@"
