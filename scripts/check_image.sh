#!/bin/sh
# Prove what the image promises, one line a fact; the first that does not hold ends it with exit code 1.
# Usage: scripts/check_image.sh ENGINE IMAGE [BUNDLE]
#   ENGINE  docker or podman
#   IMAGE   the image to run
#   BUNDLE  an encoder bundle's folder to host; otherwise the image's own default
# It makes containers and a volume of its own, and removes them again.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
fi
engine=$1
image=$2
bundle=${3:-}
kind=$(basename "$engine")
unique=lookalike-check-$$
name=$unique
volume=$unique

HEALTHY_WITHIN_S=90
STOPPED_WITHIN_S=5

ok() { printf 'ok      %s\n' "$*"; }

fail() {
    printf 'FAILED  %s\n' "$*" >&2
    if inspect '{{.Id}}' >/dev/null; then
        "$engine" logs --tail 20 "$name" >&2
    fi
    exit 1
}

# Some engines talk on stderr about what does not matter here.
quiet() { "$@" 2>/dev/null; }

now_ms() { python3 -c 'import time; print(int(time.time() * 1000))'; }

seconds() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }

inspect() { quiet "$engine" inspect --format "$1" "$name"; }

inside() { quiet "$engine" exec "$@"; }

cleanup() {
    quiet "$engine" rm --force "$name" >/dev/null || true
    quiet "$engine" volume rm "$volume" >/dev/null || true
}

start() { # with further arguments for the engine
    set -- "$@" --read-only --tmpfs /tmp --cap-drop=ALL --security-opt no-new-privileges
    set -- "$@" --volume "$volume:/data"
    if [ -n "$bundle" ]; then
        set -- "$@" --volume "$(cd "$bundle" && pwd):/encoder:ro" --env LOOKALIKE_ENCODER=/encoder
    fi
    quiet "$engine" run --detach --name "$name" "$@" "$image" >/dev/null ||
        fail "does not start: $("$engine" run --rm "$@" "$image" --version 2>&1 | tail -n 1)"
}

is_healthy() {
    if [ "$kind" = podman ]; then
        quiet podman_healthcheck
    else
        [ "$(inspect '{{.State.Health.Status}}')" = healthy ]
    fi
}

podman_healthcheck() { "$engine" healthcheck run "$name" >/dev/null; }

wait_until_healthy() { # prints how long it took since $1
    until is_healthy; do
        [ "$(inspect '{{.State.Running}}')" = true ] ||
            fail "it ended by itself with exit code $(inspect '{{.State.ExitCode}}')"
        [ $(($(now_ms) - $1)) -lt $((HEALTHY_WITHIN_S * 1000)) ] ||
            fail "not healthy within $HEALTHY_WITHIN_S s"
        sleep 0.2
    done
    ok "$2: healthy $(seconds $(($(now_ms) - $1))) after its start"
}

check_confinement() {
    id=$(inside "$name" id -u)
    [ "$id" -ne 0 ] || fail "it runs as root"
    status=$(inside "$name" grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/1/status | tr -s '\t ' ' ')
    case $status in
    *"Uid: $id $id $id $id"*) ;;
    *) fail "process 1 has other ids than $id: $status" ;;
    esac
    case $status in
    *'CapEff: 0000000000000000'*) ;;
    *) fail "it has capabilities: $status" ;;
    esac
    case $status in
    *'NoNewPrivs: 1'*) ;;
    *) fail "it may gain privileges: $status" ;;
    esac
    memory_kb=$(inside "$name" sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/1/status)
    ok "runs as uid $id, gid $(inside "$name" id -g), no capabilities, no new privileges, $((memory_kb / 1024)) MiB"
}

check_writes() {
    left=$(inside "$name" find /tmp -type f) || fail "cannot look into /tmp"
    [ -z "$left" ] || fail "the server leaves files outside /data: $left"
    for folder in / /etc /home /opt/lookalike /usr/local; do
        if inside "$name" touch "$folder/written"; then
            fail "$folder can be written to"
        fi
    done
    inside "$name" sh -c 'touch /data/written && rm /data/written' || fail "/data cannot be written to"
    ok "has written to /data only, and could to /tmp: refused in /, /etc, /home, /opt/lookalike, /usr/local"
}

check_outside() {
    address=$(quiet "$engine" port "$name" 8000 | head -n 1)
    answer=$(python3 -c '
import sys, urllib.request as r
print(r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=10).read().decode())
' "http://$address/health/ready") || fail "http://$address does not answer"
    ok "answers from outside at its published port: $answer"
}

# The requests are sent from inside, where the pictures are and nothing else has to be installed.
api() {
    "$engine" exec --interactive "$name" python - "$@" <<'PYTHON' || fail "the API does not work: $*"
import base64, json, pathlib, sys, urllib.request

API = "http://127.0.0.1:8000/v1/collections/check"


def send(method, path, body):
    request = urllib.request.Request(
        API + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")


def picture(path):
    return base64.b64encode(path.read_bytes()).decode()


def enrol(folder):
    files = sorted(pathlib.Path(folder).glob("*.jpg"))
    made = send("PUT", "", {})
    items = [
        {"id": file.stem, "identity": file.stem.rpartition("_")[0], "image": picture(file)} for file in files
    ]
    written = send("POST", "/items", {"items": items})
    assert written["created"] == len(files), written
    found = send("POST", "/search", {"queries": [picture(files[0])], "k": 2})["results"][0]["matches"]
    assert found[0]["id"] == files[0].stem and abs(found[0]["distance"]) < 1e-4, found
    print(
        f"{len(files)} drawn pictures enrolled with {made['encoder']} ({made['dimension']} dimensions); "
        f"{files[0].stem} finds itself at {found[0]['distance']:.6f}, then {found[1]['id']} at "
        f"{found[1]['distance']:.6f}"
    )


def find(item):
    found = send("POST", "/search", {"queries": [{"id": item}], "k": 100})["results"][0]["matches"]
    print(f"{item} and {len(found)} others are still there, the nearest at {found[0]['distance']:.6f}")


{"enrol": enrol, "find": find}[sys.argv[1]](sys.argv[2])
PYTHON
}

stop() {
    started=$(now_ms)
    quiet "$engine" stop -t 20 "$name" >/dev/null
    took=$(($(now_ms) - started))
    code=$(inspect '{{.State.ExitCode}}')
    [ "$code" -eq 0 ] || fail "exit code $code after SIGTERM, $(seconds $took)"
    [ $took -lt $((STOPPED_WITHIN_S * 1000)) ] || fail "took $(seconds $took) to stop"
    ok "$1: stopped on SIGTERM after $(seconds $took) with exit code $code"
}

trap cleanup EXIT
trap 'exit 1' INT TERM

quiet "$engine" image inspect "$image" >/dev/null || fail "there is no image $image"
bytes=$(quiet "$engine" image inspect --format '{{.Size}}' "$image")
ok "image $image has $((bytes / 1000000)) MB"
quiet "$engine" volume create "$volume" >/dev/null

begun=$(now_ms)
start --publish 127.0.0.1::8000
wait_until_healthy "$begun" "first container, read-only"
check_confinement
check_writes
check_outside
inside "$name" lookalike draw --out /tmp/drawn --identities 3 --views 2 >/dev/null || fail "cannot draw"
line=$(api enrol /tmp/drawn)
ok "$line"
onnx=$(inside "$name" python -c 'import models.importing, onnx; print(onnx.__version__)') ||
    fail "cannot import encoders"
ok "can import encoders, with onnx $onnx"
stop "first container"
quiet "$engine" rm "$name" >/dev/null

begun=$(now_ms)
start --network none
wait_until_healthy "$begun" "second container on the same volume, without a network"
line=$(api find vehicle_0001_view1)
ok "$line"
stop "second container"
cleanup
quiet "$engine" inspect "$name" >/dev/null && fail "the container could not be removed"
quiet "$engine" volume inspect "$volume" >/dev/null && fail "the volume could not be removed"
ok "nothing is left behind"
