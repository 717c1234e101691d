#!/bin/sh
# Copy a trained bundle to those that ship, in place of the older one of its name.
# Usage: scripts/ship_bundle.sh BUNDLE
set -eu
target=models/bundles/$(basename "$1")
rm -rf "$target"
cp -r "$1" "$target"
du -sh "$target"
