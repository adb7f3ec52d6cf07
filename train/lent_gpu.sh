#!/bin/bash
# Renders and trains on a GPU machine that is lent for minutes, reaches nothing outside it and sends back 16 MiB files.
#
#   1. Here, where anny and the assets are:   train/lent_gpu.sh pack ASSETS [WEIGHTS [LABELS PHOTOS]]
#      fills build/lent (git ignores /build/): baked arms, skins, shrunken environment maps, moderngl's wheels for
#      Python 3.12 and, if given, ImageNet weights and one folder of photographs. It says how much would travel with
#      the repository, and refuses more than 60 MiB.
#   2. There, from the repository's root, with build/lent carried along and OUT an empty folder for what comes back:
#          OUT=... train/lent_gpu.sh go
#      With the workplace's tool: run {carry: ["build/lent"], command: "train/lent_gpu.sh go", timeout_s: 600}.
#      Calling it again on the machine while it is warm goes on with the same run.
#   3. Here:   train/lent_gpu.sh join FILES_AT RUN   puts the parts of the weights together again.
#
# Numbers by the environment: COUNT pictures, RENDER_S seconds at most to render them, STEPS and BATCH of the training,
# TRAIN_MIN minutes at most, NETWORK, SIZE. The defaults are guesses for 16 cores and one GPU: the first call's log says
# what a second call should use (the schedule falls over all STEPS, so that they should be as many as fit).
# `go` was tried on a CPU only, with COUNT=720 STEPS=4 BATCH=8 (fewer pictures cannot be split): no GPU was lent when
# this was written.
set -euo pipefail
cd "$(dirname "$0")/.."
LENT=build/lent
PY=${PYTHON:-python3}

pack() {
    local assets=${1:?give the folder of the assets} weights=${2:-} labels=${3:-} photos=${4:-}
    rm -rf "$LENT" && mkdir -p "$LENT"/{skins,hdri,godot,wheels}
    handcoach-train bake "$LENT/arms.npz" --count 400 --godot "$assets/godot_hands"
    cp "$assets"/makehuman_skins/*.[jp]*g "$LENT/skins/"
    "$PY" - "$assets" "$LENT" <<'SHRINK'
import sys
from pathlib import Path
import cv2
assets, lent = map(Path, sys.argv[1:])
for file in (assets / "hdri").glob("*.hdr"):
    sky = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(lent / "hdri" / file.name), cv2.resize(sky, (512, 256), interpolation=cv2.INTER_AREA))
for file in (assets / "godot_hands").glob("*_baseColor.png"):
    if file.name.startswith(("african", "caucasian")):
        skin = lent / "godot" / f"{file.stem}.jpg"
        cv2.imwrite(str(skin), cv2.imread(str(file)), [cv2.IMWRITE_JPEG_QUALITY, 92])
SHRINK
    "$PY" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
        -d "$LENT/wheels" 'moderngl>=5.12,<6' 'glcontext>=3,<4'
    if [ -n "$weights" ]; then cp "$weights" "$LENT/weights.pth"; fi
    if [ -n "$photos" ]; then cp "$labels" "$LENT/labels.json"; cp -r "$photos" "$LENT/photos"; fi
    local mib=$(( ($(du -sb "$LENT" | cut -f1) + $(git ls-files -z | du -cb --files0-from=- | tail -1 | cut -f1)) / 1048576 ))
    echo "$LENT and the repository: $mib MiB"
    if [ "$mib" -gt 60 ]; then
        echo "train/lent_gpu.sh: $mib MiB are too many to travel: pack fewer photographs." >&2
        return 2
    fi
}

go() {
    local out=${OUT:?OUT must name an empty folder for what comes back}
    local count=${COUNT:-60000} steps=${STEPS:-2500} size=${SIZE:-160} network=${NETWORK:-mobilenetv2}
    local cores; cores=$(nproc)
    if [ ! -d "$LENT" ]; then
        echo "train/lent_gpu.sh: $LENT is not here: run 'train/lent_gpu.sh pack ASSETS' first, and carry it." >&2
        return 2
    fi
    if ! "$PY" -c 'import moderngl' 2>/dev/null; then
        "$PY" -m pip install -q --no-index --no-deps --no-compile --target /tmp/site "$LENT"/wheels/*.whl
        export PYTHONPATH=/tmp/site
    fi
    export PYTHONPATH="$PWD/train:$PWD/runtime${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
    local train="$PY -m handcoach_train.cli" data=build/lent-data run=build/lent-run seconds=${RENDER_S:-210}
    local assets="--bodies $LENT/arms.npz --skins $LENT/skins --hdri $LENT/hdri --godot $LENT/godot"
    # Two thirds from any side, a third of the exercise; what is not done in time is left out.
    timeout -s INT $((seconds * 2 / 3 + 1)) $train render "$data/any" --count $((count * 2 / 3)) --seed 51 \
        --workers "$cores" $assets || echo "rendering stopped in time"
    timeout -s INT $((seconds / 3 + 1)) $train render "$data/table" --count $((count / 3)) --seed 52 \
        --view exercise --workers "$cores" $assets || echo "rendering stopped in time"
    local more=()
    if [ -f "$LENT/weights.pth" ]; then more+=(--weights "$LENT/weights.pth"); else more+=(--weights none); fi
    if [ -f "$LENT/labels.json" ]; then more+=(--photos "$LENT/labels.json" "$LENT/photos"); fi
    $train landmarks "$data/any" "$data/table" --preset edge --network "$network" --size "$size" --name lent \
        --steps "$steps" --batch "${BATCH:-256}" --workers $((cores > 2 ? cores - 2 : 1)) \
        --minutes "${TRAIN_MIN:-4.5}" "${more[@]}" --out "$run" 2>&1 | tee "$out/log.txt"
    # The checkpoint holds half floats and its whole configuration; no file may be larger than 16 MiB.
    split -b 15M -d "$run/lent.safetensors" "$out/lent.safetensors."
    ls -l "$out"
}

join() {
    mkdir -p "$2"
    cat "$1"/lent.safetensors.* > "$2/lent.safetensors.partial"
    mv "$2/lent.safetensors.partial" "$2/lent.safetensors"
    echo "$2/lent.safetensors"
}

case ${1:-} in
    pack) shift; pack "$@" ;;
    go) go ;;
    join) join "${2:?FILES_AT is missing}" "${3:?RUN is missing}" ;;
    *) echo "usage: train/lent_gpu.sh pack ASSETS [WEIGHTS [LABELS PHOTOS]] | go | join FILES_AT RUN" >&2; exit 2 ;;
esac
