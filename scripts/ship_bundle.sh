#!/bin/sh
# Copy a trained bundle to those that ship, in place of the older one of its name.
# Usage: scripts/ship_bundle.sh BUNDLE
# What may not ship is refused, and the older one stays: no bundle, more than 6 MB, pictures of the dataset.
set -eu
bundle=$1
target=models/bundles/$(basename "$bundle")

refuse() {
    echo "$bundle is not shipped: $1" >&2
    exit 1
}

[ -f "$bundle/manifest.json" ] || refuse "it holds no manifest.json."
[ ! "$bundle" -ef "$target" ] || refuse "it is there already."
bytes=$(cat "$bundle"/* | wc -c)
[ "$bytes" -le 6000000 ] || refuse "it has $bytes bytes, and 6,000,000 is the most."
if [ -f "$bundle/report.html" ] && grep -q '<img' "$bundle/report.html"; then
    refuse "its report shows pictures of the dataset. Train it with --no-report-pictures."
fi
rm -rf "$target"
cp -r "$bundle" "$target"
du -sh "$target"
