#!/bin/bash
# Renders and trains on a GPU machine that is lent for minutes, reaches nothing outside it and sends back 16 MiB files.
#
#   1. Here, where anny and the assets are:   train/lent_gpu.sh pack ASSETS [LABELS PHOTOS]...
#      fills build/lent (git ignores /build/): baked arms, skins, shrunken environment maps, wheels for Python 3.12, and
#      pairs of labels and photographs (`pseudo-label`), cut to their hands (`shrink`). It says how much would travel
#      with the repository, and refuses more than 62 MiB.
#   2. There, from the repository's root, with build/lent carried along and OUT an empty folder for what comes back:
#          OUT=... train/lent_gpu.sh go
#      With the workplace's tool: run {carry: ["build/lent"], command: "WAIT=580 train/lent_gpu.sh go", timeout_s: 600}.
#      The work goes on by itself when WAIT seconds are over; the same command waits on, and brings what is there.
#   3. Here:   train/lent_gpu.sh join FILES_AT RUN   puts the parts of the weights together again.
#
# All processors render, small data sets at a time. After FIRST seconds a ResNet50 learns from what is there, with
# random weights to begin with; after SECOND a MobileNetV2 learns from all that is there by then, with the
# ResNet50 as the photographs' teacher, from START; after END it is over.
set -euo pipefail
cd "$(dirname "$0")/.."
LENT=build/lent DATA=build/lent-data RUN=build/lent-run
PY=${PYTHON:-python3}

pack() {
    local assets=${1:?give the folder of the assets}; shift
    rm -rf "$LENT" && mkdir -p "$LENT"/{skins,hdri,godot,wheels}
    # A data set shows every fiftieth sequence the same person: small sets need people of their own.
    for n in 0 1 2 3 4 5 6 7 8 9 10 11; do
        handcoach-train bake "$LENT/arms-$n.npz" --count 50 --seed "$n" --godot "$assets/godot_hands"
    done
    cp "$assets"/makehuman_skins/*.[jp]*g "$LENT/skins/"
    "$PY" - "$assets" "$LENT" <<'SHRINK'
import sys
from pathlib import Path
import cv2
assets, lent = map(Path, sys.argv[1:])
for file in (assets / "hdri").glob("*.hdr"):
    sky = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(lent / "hdri" / file.name), cv2.resize(sky, (640, 320), interpolation=cv2.INTER_AREA))
for file in (assets / "godot_hands").glob("*_baseColor.png"):
    if file.name.startswith(("african", "caucasian")):
        skin = lent / "godot" / f"{file.stem}.jpg"
        cv2.imwrite(str(skin), cv2.imread(str(file)), [cv2.IMWRITE_JPEG_QUALITY, 92])
SHRINK
    "$PY" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
        -d "$LENT/wheels" 'moderngl>=5.12,<6' 'glcontext>=3,<4'
    while [ $# -ge 2 ]; do
        handcoach-train shrink "$1" "$2" "$LENT/photos/$(basename "$2")"
        shift 2
    done
    if [ -d "$LENT/photos" ]; then  # one file travels better than ten thousand
        (cd "$LENT" && "$PY" -m zipfile -c photos.zip photos && rm -r photos)
    fi
    local mib=$(( ($(du -sb "$LENT" | cut -f1) + $(git ls-files -z | du -cb --files0-from=- | tail -1 | cut -f1)) / 1048576 ))
    echo "$LENT and the repository: $mib MiB"
    if [ "$mib" -gt 62 ]; then
        echo "train/lent_gpu.sh: $mib MiB are too many to travel: pack fewer photographs." >&2
        return 2
    fi
}

paths() {
    if ! "$PY" -c 'import moderngl' 2>/dev/null; then
        [ -d /tmp/site ] || "$PY" -m pip install -q --no-index --no-deps --no-compile --target /tmp/site "$LENT"/wheels/*.whl
        export PYTHONPATH=/tmp/site
    fi
    export PYTHONPATH="$PWD/train:$PWD/runtime${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
    TRAIN="$PY -m handcoach_train.cli"
}

go() {
    local out=${OUT:?OUT must name an empty folder for what comes back}
    if [ ! -d "$LENT" ]; then
        echo "train/lent_gpu.sh: $LENT is not here: run 'train/lent_gpu.sh pack ASSETS' first, and carry it." >&2
        return 2
    fi
    paths
    if [ ! -e "$RUN/log.txt" ]; then
        "$PY" -c 'import moderngl; print(moderngl.create_context(standalone=True, backend="egl").info["GL_RENDERER"])'
        "$PY" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
        $TRAIN render /tmp/try --count 8 --workers 1 --bodies "$LENT/arms-0.npz" --skins "$LENT/skins" \
            --hdri "$LENT/hdri" --godot "$LENT/godot"
        mkdir -p "$RUN" "$DATA"
        if [ -e "$LENT/photos.zip" ]; then "$PY" -m zipfile -e "$LENT/photos.zip" "$DATA"; fi
        setsid bash "$0" work > "$RUN/log.txt" 2>&1 < /dev/null &
    fi
    until [ -e "$RUN/over" ] || [ "$SECONDS" -ge "${WAIT:-3600}" ]; do sleep 1; done
    # What is there by now; no file may be larger than 16 MiB. A checkpoint holds halves and its configuration.
    for name in resnet50 mobilenetv2; do
        if [ -e "$RUN/$name.done" ]; then split -b 15M -d "$RUN/$name/$name.safetensors" "$out/$name.safetensors."; fi
    done
    tar -czf "$out/logs.tgz" -C "$RUN" $(cd "$RUN" && ls -d -- *.txt */log.jsonl 2>/dev/null)
    tr '\r' '\n' < "$RUN/log.txt" | tail -n 60
    ls -l "$out"
}

# One data set after the other, numbers N, N + 4, ... every third of them the exercise; a set is whole when it has its
# meta.json.
render() {
    local n=$1 view
    while [ ! -e "$RUN/full" ] && { [ "$1" -lt 2 ] || [ ! -e "$RUN/half" ]; }; do
        view=any; if [ $((n % 3)) = 2 ]; then view=exercise; fi
        nice -n 5 $TRAIN render "$DATA/$view-$n" --count "${SET:-4000}" --seed $((1000 + n)) --view "$view" \
            --workers $(( ($(nproc) + 3) / 4 )) --bodies "$LENT/arms-$((n % 12)).npz" \
            --skins "$LENT/skins" --hdri "$LENT/hdri" --godot "$LENT/godot" > "$RUN/render-$1.txt" 2>&1
        n=$((n + 4))
    done
}

sets() { ls -d "$DATA"/*-*/meta.json 2>/dev/null | xargs -r -n 1 dirname; }

work() {
    local first=${FIRST:-110} second=${SECOND:-380} end=${END:-690} photos=() file
    paths
    trap 'touch "$RUN/full" "$RUN/over"' EXIT  # also where something failed
    rm -f "$RUN/full" "$RUN/half"
    $TRAIN render "$DATA/frames" --full-frames --size 320 --count "${FRAMES:-600}" --seed 999 --workers "$(nproc)" \
        --bodies "$LENT/arms-0.npz" --skins "$LENT/skins" --hdri "$LENT/hdri" --godot "$LENT/godot" > "$RUN/frames.txt" 2>&1
    echo "$SECONDS s: frames"
    for n in 0 1 2 3; do render "$n" & done
    for file in $(ls "$DATA"/photos/*.json 2>/dev/null); do photos+=(--photos "$file" "${file%.json}"); done
    until [ "$SECONDS" -ge "$first" ] && [ "$(sets | wc -l)" -ge 2 ]; do sleep 1; done
    touch "$RUN/half"  # the GPU has two masters from now on
    teach resnet50 $((second - SECONDS)) --weights none --sizes 128:0.55,160:0.45 --batch "${BATCH:-256}" --rate 1e-3 \
        --set photo_share=0.3 --set ema=0.999
    touch "$RUN/full"
    until [ "$SECONDS" -ge "$second" ]; do sleep 1; done
    teach mobilenetv2 $((end - SECONDS)) --start "${START:-models/checkpoints/mobilenetv2.safetensors}" \
        --sizes 128:0.3,160:0.7 --batch "${BATCH:-384}" --rate 1.5e-3 --set photo_share=0.35 --set ema=0.999 \
        --set "teacher=$RUN/resnet50/resnet50.safetensors"
    echo "$SECONDS s: over"
}

# Trains a network for so many seconds on all data sets that are whole, with the options that follow.
teach() {
    local name=$1 seconds=$2; shift 2
    echo "$SECONDS s: $name, $(sets | wc -l) sets"
    $TRAIN landmarks $(sets) --frames "$DATA/frames" --preset edge --network "$name" --out "$RUN/$name" \
        --fill "$(echo "$seconds" | awk '{print $1 / 60}')" --resident --workers "$(nproc)" "${photos[@]}" "$@"
    touch "$RUN/$name.done"
}

join() {
    local name
    if ! ls "$1"/*.safetensors.00 > /dev/null 2>&1; then
        echo "train/lent_gpu.sh: $1 holds no parts of weights." >&2
        return 2
    fi
    mkdir -p "$2"
    for name in $(cd "$1" && ls -- *.safetensors.00); do
        name=${name%.00}
        cat "$1/$name".?? > "$2/$name.partial"
        mv "$2/$name.partial" "$2/$name"
        echo "$2/$name"
    done
}

case ${1:-} in
    pack) shift; pack "$@" ;;
    go) go ;;
    work) work ;;
    join) join "${2:?FILES_AT is missing}" "${3:?RUN is missing}" ;;
    *) echo "usage: train/lent_gpu.sh pack ASSETS [LABELS PHOTOS]... | go | join FILES_AT RUN" >&2; exit 2 ;;
esac
