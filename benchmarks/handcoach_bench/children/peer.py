"""One of the programs that `peers` compares, on pictures: `PYTHON peer.py TASK.json RESULT.json`.

Run in an environment of its own: MediaPipe 0.10.21 (the last one whose wheel carries the models) wants
numpy < 2, and the paper's way wants PyTorch. So nothing outside the standard library is imported up here, and
nothing of HandCoach where it is not HandCoach that is measured. All three are measured by the same lines.

TASK: `peer`: mediapipe (default), paper or ours; `files`: pictures; `tracked`: they are frames of one clip
and not independent; `complexity`: of MediaPipe, 1 full, 0 lite; `cores`: use so many processors only;
`warmup`: first frames that are kept apart; `began`: when the process was started (`time.time`).
RESULT: `landmarks`: of each picture (21, 3), camera axes, or null; `sides`: the person's own hand, or null;
wall and CPU time of each picture without its decoding, start-up, memory, versions; `pinned`: whether it was
kept on its processors.

With `size`, a list of packages, RESULT says instead how many bytes they and all that they need take.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from importlib import metadata
from pathlib import Path

FPS = 30.0
PACKAGES = ("mediapipe", "torch", "torchvision", "scikit-learn", "numpy", "onnxruntime", "handcoach",
            "opencv-python-headless", "opencv-contrib-python")  # fmt: skip


class Refused(Exception):
    """Something that a person can mend, in one sentence."""


def main(argv: list[str]) -> int:
    task = json.loads(Path(argv[0]).read_text("utf-8"))
    try:
        result = size(task["size"]) if "size" in task else play(task)
    except ImportError as error:
        result = {"error": f"{sys.executable} lacks {error.name or error}: give another environment"}
    except Refused as error:
        result = {"error": str(error)}
    Path(argv[1]).write_text(json.dumps(result), "utf-8")
    return 0


def play(task: dict) -> dict:
    """Every picture in order through one program."""
    pinned = pin(task["cores"]) if task.get("cores") else False
    start = time.perf_counter()
    look = {"mediapipe": mediapipe, "paper": paper, "ours": ours}[task.get("peer", "mediapipe")](task)
    load_ms = 1e3 * (time.perf_counter() - start)
    import cv2

    landmarks: list[list | None] = []
    sides: list[str | None] = []
    wall: list[float] = []
    cpu: list[float] = []
    startup = None
    for i, file in enumerate(task["files"]):
        image = cv2.imread(file)
        if image is None:
            raise Refused(f"{file} cannot be read")
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        busy, start = time.process_time(), time.perf_counter()
        joints, side = look(image, i)
        wall.append(1e3 * (time.perf_counter() - start))
        cpu.append(1e3 * (time.process_time() - busy))
        if startup is None and "began" in task:
            startup = 1e3 * (time.time() - task["began"])
        landmarks.append(joints)
        sides.append(side)
        if task.get("progress") and i % 10 == 0:
            Path(task["progress"]).write_text(f"{i} {len(task['files'])}", "utf-8")
    warmup = task.get("warmup", 0)
    return {
        "landmarks": landmarks, "sides": sides, "load_ms": load_ms, "startup_ms": startup,
        "warmup_ms": wall[:warmup], "wall_ms": wall[warmup:], "cpu_ms": cpu[warmup:],
        "pinned": pinned, "versions": versions(), **memory(),
    }  # fmt: skip


def pin(cores: int) -> bool:
    """Keep this process on so many processors; whether the system gives a way."""
    try:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    except (AttributeError, OSError):
        return False
    return True


def mediapipe(task: dict):
    import mediapipe as mp

    hands = mp.solutions.hands.Hands(
        static_image_mode=not task.get("tracked"), max_num_hands=1,
        model_complexity=task.get("complexity", 1), min_detection_confidence=0.2,
    )  # fmt: skip

    def look(image, number):
        found = hands.process(image)
        if not found.multi_hand_world_landmarks:
            return None, None
        word = found.multi_handedness[0].classification[0].label  # of a selfie, which the picture is not
        joints = [[p.x, p.y, p.z] for p in found.multi_hand_world_landmarks[0].landmark]
        return joints, "left" if word == "Right" else "right"

    return look


def ours(task: dict):
    """The patient's program: finder, tracker, smoothing, and the posture too."""
    from handcoach import pipeline
    from handcoach.hand import Frame

    line = pipeline.load(
        task["exercise"], task["landmarks"], task["finder"], still=not task.get("tracked"),
        threads=task.get("cores") or 1,
    )  # fmt: skip

    def look(image, number):
        track, _ = line.step(Frame(image, number / FPS if task.get("tracked") else 0.0, number))
        return (track.hand.landmarks.tolist(), track.hand.side) if track.hand else (None, None)

    return look


def paper(task: dict):
    """The paper's way (5.1, 5.2): the whole picture through an eager ResNet50, then hand frame and k-means.
    There is no finder and no tracker, so that every picture gets landmarks and none a side.

    `checkpoint`: of `handcoach-train landmarks --preset paper`; without one the weights are random, which
    takes as long. `postures`: landmarks (N, 63) that k-means is fitted to, else random ones.
    """
    import cv2
    import numpy as np
    import torch
    from sklearn.cluster import KMeans
    from torchvision import transforms

    if task.get("cores"):
        torch.set_num_threads(task["cores"])
    torch.manual_seed(0)
    network = resnet(task.get("checkpoint"))
    size = size_of(Path(task["checkpoint"])) if task.get("checkpoint") else 224
    change = transforms.Compose([
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    known = task.get("postures") or np.random.default_rng(0).normal(size=(90, 63)).tolist()
    clusters = KMeans(3, random_state=0).fit(np.stack([hand_frame(np.array(p)) for p in known]))

    def look(image, number):
        how = cv2.INTER_AREA if size < max(image.shape[:2]) else cv2.INTER_LINEAR  # as in its training
        small = cv2.resize(image, (size, size), interpolation=how)
        with torch.no_grad():
            said = network(change(small)[None])[0].numpy()
        clusters.predict(hand_frame(said)[None])
        return said.reshape(21, 3).tolist(), None

    return look


def resnet(checkpoint: str | None):
    """Table 1 of the paper: pooled features, 2048 to 2048, ReLU, 2048 to 63."""
    from collections import OrderedDict

    import torch
    from torch import nn
    from torchvision.models import resnet50

    r = resnet50(weights=None)
    stem = nn.Sequential(OrderedDict(conv1=r.conv1, bn1=r.bn1, relu=r.relu, maxpool=r.maxpool))
    parts = OrderedDict(stem=stem, layer1=r.layer1, layer2=r.layer2, layer3=r.layer3, layer4=r.layer4)
    head = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 63))
    network = nn.Sequential(OrderedDict(
        features=nn.Sequential(parts), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=head
    ))  # fmt: skip
    if checkpoint is not None:
        state = {k: torch.from_numpy(v) for k, v in weights(Path(checkpoint)).items()}
        # Without a dropout's place in its name, the second layer of the head is number 2.
        state = {k.replace("head.3.", "head.2."): v for k, v in state.items()}
        mine = {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
        if mine != {k: v.shape for k, v in state.items()}:
            raise Refused(f"{checkpoint} is no ResNet50 of handcoach-train landmarks --preset paper")
        network.load_state_dict(state, strict=False)
    return network.eval()


def size_of(file: Path) -> int:
    """Of the pictures that a checkpoint of handcoach-train was trained on."""
    data = file.read_bytes()
    about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    return int(json.loads(about.get("handcoach", "{}")).get("size", 224))


def weights(file: Path) -> dict:
    """The tensors of a .safetensors file as float32; no package is needed to read so plain a format."""
    import numpy as np

    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    kinds = {"F16": np.float16, "F32": np.float32}
    tensors = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__" and about["dtype"] in kinds:
            low, high = (start + at for at in about["data_offsets"])
            flat = np.frombuffer(data[low:high], kinds[about["dtype"]]).astype(np.float32)
            tensors[name] = flat.reshape(about["shape"])
    return tensors


def hand_frame(landmarks):
    """The paper's 5.2.1: x from the wrist to the index knuckle, z the palm's normal; (63,)."""
    import numpy as np

    p = landmarks.reshape(21, 3)
    p = p - p[0]
    x = p[5] / max(np.linalg.norm(p[5]), 1e-9)
    z = np.cross(x, p[17])
    z /= max(np.linalg.norm(z), 1e-9)
    return (p @ np.stack([x, np.cross(z, x), z]).T).reshape(63).astype(np.float32)


def memory() -> dict:
    """Largest and present resident memory in MB, None where nothing tells them."""
    try:
        said = Path("/proc/self/status").read_text()
    except OSError:
        return {"peak_rss_mb": None, "steady_rss_mb": None}
    found = {name: int(kb) / 1024 for name, kb in re.findall(r"(VmHWM|VmRSS):\s+(\d+)", said)}
    return {"peak_rss_mb": found.get("VmHWM"), "steady_rss_mb": found.get("VmRSS")}


def versions() -> dict:
    """Of the packages that run here."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def size(packages: list[str]) -> dict:
    """Megabytes on disk of these packages and of all that they need, by package."""
    sizes: dict[str, float] = {}
    todo = list(packages)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in sizes:
            continue
        try:
            dist = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if name in packages:
                raise Refused(f"{sys.executable} lacks {name}: give another environment") from None
            continue  # for another system, or optional
        files = {Path(str(file.locate())) for file in dist.files or ()}
        sizes[name] = sum(file.stat().st_size for file in files if file.is_file()) / 2**20
        needs = [need for need in dist.requires or () if not re.search(r"extra\s*==", need)]
        todo += re.findall(r"^[A-Za-z0-9._-]+", "\n".join(needs), re.M)
    return {"size_mb": sizes, "versions": versions()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
