#!/usr/bin/env bash
# From a clean clone to the files in this folder: render, gather, label, train, export, ship, the library, and compare.
#
#   ASSETS=DIR PHOTOS=DIR bash models/remake.sh            everything; days of a laptop's time, or an hour of a GPU's
#   ... bash models/remake.sh export ship                  only these stages, in this order
#
# stages:  render photos train export ship library compare (the last two of the models that are shipped then)
#
#   ASSETS   makehuman_skins/, hdri/, godot_hands/ (CC0) and, if they are there, weights/mobilenet_v2_imagenet.pth and
#            weights/resnet50_imagenet.pth; torchvision fetches what is not
#   PHOTOS   webcam_hands/ and sign_digits/ (Apache-2.0)
#   CLONES   clones of the repositories in train/data_sources.toml, named owner+name; left out: without them
#   EVAL     real_3d/, teacher_sessions/, webcam_hands/: what `compare` measures and `gather` refuses (default PHOTOS)
#   PEER     python of an environment with mediapipe==0.10.21, which `compare` then measures beside ours
#   LIBRARY  what the exercises are rendered, recorded and judged in (default WORK/library)
#   FRAMES   of each posture of the library, to record, choose and judge by, and of single teachers (default
#            "240 120 120 40", times SHARE)
#   WORKERS  that render the library (default 1)
#   WORK     what is made on the way (default build/remake); every stage goes on with what it finds there
#   SHARE    how much of the full numbers to render and train (default 1; 0.01 tries the whole way in minutes)
#
# `ship` replaces the files of this folder only if the new landmark model is at least as good on renderings that it was not
# trained on, and resnet50.onnx by the same rule; the finder goes with them. The evaluation sets decide nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
WORK=${WORK:-build/remake} SHARE=${SHARE:-1} EVAL=${EVAL:-${PHOTOS:-}}
new=$WORK/models

command -v handcoach-train >/dev/null || {
    echo "models/remake.sh: handcoach-train is not there: activate an environment with pip install -e '.[all]' first." >&2
    exit 2
}

say() { printf '\n== %s\n' "$*"; }
need() { [ -n "${!1:-}" ] || { echo "models/remake.sh: set $1 (see the head of the script)." >&2; exit 2; }; }
some() { # some NUMBER MULTIPLE: SHARE of a number, rounded up to a multiple
    awk -v n="$1" -v m="$2" -v s="$SHARE" 'BEGIN { k = int(n * s / m + 0.9999); print (k < 1 ? 1 : k) * m }'
}

render() {
    need ASSETS
    local to
    draw() { # draw FOLDER COUNT ARGUMENTS...
        to=$WORK/data/$1
        say "render $to"
        handcoach-train render "$to" --count "$(some "$2" 80)" --skins "$ASSETS/makehuman_skins" --hdri "$ASSETS/hdri" \
            --godot "$ASSETS/godot_hands" "${@:3}"
    }
    draw any 40000 --seed 43
    draw table 16000 --seed 44 --view exercise
    draw shown 12000 --seed 47 --view library
    draw frames 8000 --seed 45 --full-frames --size 320
    draw frames-table 4000 --seed 46 --full-frames --size 320 --view exercise
    draw frames-shown 6000 --seed 48 --full-frames --size 320 --view library
    draw frames-none 6000 --seed 49 --full-frames --size 320 --hands 0
}

photos() {
    need PHOTOS
    if [ -n "${CLONES:-}" ]; then
        handcoach-train gather train/data_sources.toml --from "$CLONES" --to "$WORK/photos" \
            --refuse "$EVAL/real_3d" "$EVAL/teacher_sessions" "$EVAL/webcam_hands/images"
        handcoach-train pseudo-label "$WORK/photos" "$WORK/photos.json"
    fi
    handcoach-train pseudo-label "$PHOTOS/webcam_hands/images" "$WORK/webcam.json"
    handcoach-train pseudo-label "$PHOTOS/sign_digits" "$WORK/digits.json"
}

train() {
    need PHOTOS
    local real=(--photos "$WORK/webcam.json" "$PHOTOS/webcam_hands/images" --photos "$WORK/digits.json"
        "$PHOTOS/sign_digits" --boxes "$PHOTOS/webcam_hands/boxes.csv" --free-photos) weights=()
    [ -f "$WORK/photos.json" ] && real+=(--photos "$WORK/photos.json" "$WORK/photos")
    [ -f "${ASSETS:-}/weights/mobilenet_v2_imagenet.pth" ] && weights=(--weights "$ASSETS/weights/mobilenet_v2_imagenet.pth")
    say "train the landmark network"
    handcoach-train landmarks "$WORK"/data/{any,table,shown} --frames "$WORK/data/frames" "${real[@]}" "${weights[@]}" \
        --sizes 128:0.62,160:0.38 --rate 1.2e-3 --set steady=2 --set limits=0.5 --steps "$(some 12000 500)" \
        --out "$WORK/runs/mobilenetv2"
    say "guess the photographs' depth"
    local lifted=() labels
    handcoach-export landmarks "$WORK/runs/mobilenetv2/mobilenetv2.safetensors" -o "$WORK/runs/mobilenetv2/lift.onnx"
    lift() { # lift NAME PHOTOS
        labels=$WORK/lifted/$1.json
        handcoach-train lift "$WORK/$1.json" "$2" "$labels" --model "$WORK/runs/mobilenetv2/lift.onnx"
        lifted+=(--photos "$labels" "$2")
    }
    mkdir -p "$WORK/lifted"
    lift webcam "$PHOTOS/webcam_hands/images"
    lift digits "$PHOTOS/sign_digits"
    [ ! -f "$WORK/photos.json" ] || lift photos "$WORK/photos"
    say "train its last layers alone, wide"
    handcoach-train head "$WORK"/data/{any,table,shown} "${lifted[@]}" --boxes "$PHOTOS/webcam_hands/boxes.csv" --free-photos \
        --frames "$WORK/data/frames-none" --start "$WORK/runs/mobilenetv2/mobilenetv2.safetensors" --set steady=2 \
        --steps "$(some 2500 250)" --check-every "$(some 250 25)" --out "$WORK/runs/head"
    say "train finder"
    handcoach-train finder --frames "$WORK"/data/{frames,frames-table,frames-shown,frames-none} "${real[@]}" "${weights[@]}" \
        --rate 1.5e-3 --steps "$(some 6000 500)" --out "$WORK/runs/finder"
    say "train ResNet50"
    weights=()
    [ -f "${ASSETS:-}/weights/resnet50_imagenet.pth" ] && weights=(--weights "$ASSETS/weights/resnet50_imagenet.pth")
    handcoach-train landmarks "$WORK"/data/{any,table,shown} --network resnet50 "${weights[@]}" "${lifted[@]}" --free-photos \
        --boxes "$PHOTOS/webcam_hands/boxes.csv" --set lifted=1 --sizes 160:1 --rate 1e-3 --steps "$(some 12000 500)" \
        --out "$WORK/runs/resnet50"
}

export_() {
    local file trained=("$WORK/runs/head/mobilenetv2-mean.safetensors" "$WORK/runs/finder/finder.safetensors"
        "$WORK/runs/resnet50/resnet50.safetensors")
    for file in "${trained[@]}"; do
        [ -f "$file" ] || { echo "models/remake.sh: $file is missing: run the stage train first." >&2; exit 2; }
    done
    mkdir -p "$new/checkpoints"
    cp "${trained[0]}" "$new/checkpoints/mobilenetv2.safetensors"
    cp "${trained[1]}" "$new/checkpoints/"
    # ResNet50's checkpoint stays where it is: 50 MB.
    local networks=("$new/checkpoints/mobilenetv2.safetensors" "${trained[2]}") photos=()
    [ -z "${PHOTOS:-}" ] || photos=(--photos "$PHOTOS/webcam_hands/images" "$PHOTOS/sign_digits")
    say "int8, float and other sizes of the landmark networks: $new/variants.md"
    handcoach-export variants "${networks[@]}" --out "$new" --sizes 160 --data "$WORK"/data/{any,table} \
        ${photos[@]+"${photos[@]}"}
    handcoach-export finder "$new/checkpoints/finder.safetensors" -o "$new/finder.onnx"
}

ship() {
    evaluate() { # evaluate FILE OUT; `exit`, since a function that is asked `if` goes on after what fails
        rm -rf "$2"
        handcoach-train evaluate "$1" --data "$WORK"/data/{any,table} --split test --out "$2" || exit 2
    }
    better() { # better NAME: as good as the one that ships, on renderings that neither was trained on
        evaluate "models/$1.onnx" "$WORK/$1-before"
        evaluate "$new/$1.onnx" "$WORK/$1-now"
        python - "$1" "$WORK/$1"-{before,now}/evaluation.json <<'BETTER'
import json, sys
from pathlib import Path
old, new = (json.loads(Path(p).read_text())["table_2"]["test"]["jittered"]["mse"] for p in sys.argv[2:])
print(f"{sys.argv[1]}: mean squared error on the test split, jittered cut-outs: {old} before, {new} now")
sys.exit(new > old)
BETTER
    }
    if ! better mobilenetv2; then
        echo "models/remake.sh: the new landmark model is not better, so nothing is replaced." >&2
        exit 2
    fi
    rm -f "$new"/resnet50-*.onnx # for comparison, one is enough
    if ! better resnet50; then
        say "The new ResNet50 is not better, and stays out."
        rm -f "$new/resnet50.onnx"
    fi
    rm -f models/mobilenetv2*.onnx # variants that are no longer worth their place
    cp "$new"/*.onnx "$new"/variants.{md,json} models/
    cp "$new"/checkpoints/* models/checkpoints/
}

# The starter library, checked on people of its own. Without ASSETS it takes the renderings that are there, so that after
# a new landmark model it takes minutes.
library() {
    local work=${LIBRARY:-$WORK/library} frames=(${FRAMES:-$(some 240 24) $(some 120 12) $(some 120 12) $(some 40 30)})
    [ -d "$work/frames" ] || need ASSETS
    say "the exercises: models/exercises/library.md"
    handcoach-export library "$work" ${ASSETS:+--assets "$ASSETS"} --workers "${WORKERS:-1}" \
        --own "${frames[0]}" --choose "${frames[1]}" --final "${frames[2]}" --teachers "${frames[3]:-40}" \
        --model models/mobilenetv2.onnx --finder models/finder.onnx --ship models/exercises
}

compare() {
    need EVAL
    mkdir -p "$WORK"
    handcoach-bench accuracy "$EVAL" --model models/mobilenetv2.onnx models/resnet50.onnx --finder models/finder.onnx \
        --exercise models/exercises/finger-stretch.onnx ${PEER:+--peer "$PEER"} --timeout 3600 \
        --json "$WORK/accuracy.json" | tee "$WORK/accuracy.txt"
    say "Bring the cards in models/ and models/exercises/, and the README's table, up to date with $WORK/accuracy.txt."
}

[ $# -gt 0 ] || set -- render photos train export ship library compare
for stage in "$@"; do
    case $stage in
    render | photos | train | ship | library | compare) $stage ;;
    export) export_ ;;
    *) echo "models/remake.sh: there is no stage $stage: render, photos, train, export, ship, library or compare." >&2; exit 2 ;;
    esac
done
