"""MediaPipe's hand landmarks of photographs: `PYTHON peer.py TASK.json RESULT.json`, like `child.py`.

Run in an environment of its own with mediapipe==0.10.21 (the last one whose wheel carries the models), which
wants numpy < 2: so this file imports nothing of HandCoach. TASK names `files`; RESULT holds `version` and, in
the order of the files, `landmarks` ((21, 3) world landmarks in metres, or null) and `sides` (as MediaPipe
says them, or null).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    import cv2
    import mediapipe

    task = json.loads(Path(argv[0]).read_text("utf-8"))
    hands = mediapipe.solutions.hands.Hands(
        static_image_mode=True, max_num_hands=1, model_complexity=1, min_detection_confidence=0.2
    )
    landmarks: list[list[list[float]] | None] = []
    sides: list[str | None] = []
    for file in task["files"]:
        image = cv2.imread(file)
        found = None if image is None else hands.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        if found is None or not found.multi_hand_world_landmarks:
            landmarks.append(None)
            sides.append(None)
            continue
        landmarks.append([[p.x, p.y, p.z] for p in found.multi_hand_world_landmarks[0].landmark])
        sides.append(found.multi_handedness[0].classification[0].label)
    result = {"version": mediapipe.__version__, "landmarks": landmarks, "sides": sides}
    Path(argv[1]).write_text(json.dumps(result), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
