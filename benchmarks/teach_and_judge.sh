#!/usr/bin/env bash
# Teaches an exercise by command from the first half of each webcam session, and judges the second half: as stills, as a
# movement (tracked), and each of them mirrored. Goal: 99 % right, and every mirrored frame judged the same.
#
#   bash benchmarks/teach_and_judge.sh DIR [WORK]
#
#   DIR    folders of frames named open, almost and fist, such as teacher_sessions
#   WORK   what is made on the way (default: a folder that is removed in the end)
#
# What is fitted here is fitted on data for evaluation only: it is never shipped. Exit code 1: a goal is missed, or a step
# refuses and says why; 2: bad input.
set -euo pipefail
[ $# -ge 1 ] && [ -d "$1/open" ] && [ -d "$1/almost" ] && [ -d "$1/fist" ] || {
    echo "teach_and_judge.sh: give a folder that holds open, almost and fist (see the head of the script)." >&2
    exit 2
}
data=$(cd "$1" && pwd)
work=${2:-$(mktemp -d)}
[ $# -ge 2 ] || trap 'rm -rf "$work"' EXIT
rm -rf "$work"/{taught,judged,mirrored,recording,own.onnx,said}

python - "$data" "$work" <<'SPLIT'
import sys
from pathlib import Path
import cv2
from handcoach import camera
from handcoach.errors import HandCoachError
data, work = map(Path, sys.argv[1:])
try:
    for label in ("open", "almost", "fist"):
        with camera.open_source(data / label) as source:  # in the order in which they were taken: 2.jpg before 10.jpg
            for frame in source:
                image = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
                taught = frame.index < source.total // 2
                # As PNG: a second JPEG would be another picture.
                for to, shown in (("taught", image),) if taught else (("judged", image), ("mirrored", image[:, ::-1])):
                    (work / to / label).mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(work / to / label / f"{frame.index:06}.png"), shown)
            if source.skipped:
                print(f"{label}: {source.skipped} of {source.total} frames cannot be read, and count nowhere")
except HandCoachError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
SPLIT

for label in open almost fist; do
    handcoach record "$work/recording" --label $label --source "$work/taught/$label"
done
handcoach-export exercise "$work/recording" -o "$work/own.onnx" --messages finger-stretch --name own
for label in open almost fist; do
    for mode in still tracked; do
        for which in judged mirrored; do
            handcoach assess "$work/$which/$label" --exercise "$work/own.onnx" --$mode --json \
                >"$work/$which-$mode-$label.jsonl" 2>"$work/said" || { cat "$work/said" >&2; exit 1; }
        done
    done
done

python - "$work" <<'TABLE'
import json, sys
from pathlib import Path
work, missed = Path(sys.argv[1]), False
for mode in ("still", "tracked"):
    right = total = same = praised = bent = 0
    for label in ("open", "almost", "fist"):
        def said(which):
            lines = (work / f"{which}-{mode}-{label}.jsonl").read_text().splitlines()
            return {Path(f["file"]).stem: f["posture"] for f in map(json.loads, lines)}
        judged, mirrored = said("judged"), said("mirrored")
        right += sum(word == label for word in judged.values())
        same += sum(mirrored[name] == word for name, word in judged.items())
        total += len(judged)
        if label != "open":
            bent, praised = bent + len(judged), praised + sum(word == "open" for word in judged.values())
    print(f"{mode:8} right {right} of {total} ({right / total:.1%}), wrong praise {praised} of {bent}, "
          f"mirrored the same {same} of {total}")
    missed |= right < 0.99 * total or same < total
sys.exit(missed)
TABLE
