"""A short clip of one hand going through the finger stretch, seen as a laptop's webcam sees it: the demo."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

from handcoach_train.errors import TrainError
from handcoach_train.render import draw, posture, scene
from handcoach_train.render.people import bodies
from handcoach_train.render.webcam import Picture

WIDTH, HEIGHT, FPS = 640, 480, 20
# Seconds to move, then to hold, for each posture in turn.
SCRIPT = (
    ("fist", 0.0, 1.2),
    ("almost", 0.7, 1.0),
    ("open", 0.6, 3.8),
    ("almost", 0.6, 0.5),
    ("fist", 0.6, 1.0),
    ("open", 0.9, 3.8),
    ("fist", 0.9, 0.4),
)


def render_clip(out: Path, seed: int, skins: Path | None, hdri: Path | None) -> int:
    """Write the clip; returns its number of frames. H.264 where ffmpeg is installed, MPEG-4 otherwise.

    Raises:
        TrainError: OpenGL or anny is missing, or the video could not be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        people = Path(folder) / "bodies.npz"
        bodies(people, 4, seed)
        studio = scene.Studio(people, WIDTH, HEIGHT, skins, hdri)
        rng = np.random.default_rng(seed)
        arm = studio.bodies.arm(int(rng.integers(4)))
        look = draw.random_look(rng, studio.painter.of_mesh[arm.mesh])
        look.sleeve, look.band = 0.09, 9.0
        light = draw.random_light(rng, studio.ambient[0] if studio.ambient else None, overhead=True)
        light.key, light.exposure = np.array([0.35, -0.45, 0.82]), 1.0
        table = draw.Table(
            np.array([0.23, 0.14, 0.08]), np.array([0.12, 0.07, 0.04]), 0.8, np.array([4.0, 60.0]), 0.08
        )
        # One wrist and one thumb all along; the fingers alone do the exercise.
        flexion = {"fist": [80.0, 98.0, 52.0], "almost": [24.0, 40.0, 20.0], "open": [2.0, 4.0, 2.0]}
        thumb = {
            "fist": [40.0, 22, 4, 28, 35],
            "almost": [20.0, 28, 0, 12, 14],
            "open": [5.0, 32, 0, 2, 0],
        }
        spread = {"fist": 0.0, "almost": 4.0, "open": 9.0}
        poses = {
            k: posture.Pose(
                np.array(flexion[k]) + rng.normal(0, 2, (4, 3)),
                np.array([1.0, 0.0, -1.0, -2.0]) * spread[k],
                np.array(thumb[k]),
                np.array([-18.0, 0.0, 0.0]),
            )
            for k in flexion
        }
        eye = np.array([0.02, -0.42, 0.30])
        m = scene.look_at(eye, np.array([0.0, 0.03, 0.02]), np.array([0.0, 0, 1]))
        f = 0.85 * WIDTH
        k = np.array([[f, 0, WIDTH / 2], [0, f, HEIGHT / 2], [0, 0, 1.0]])
        behind = np.full((HEIGHT, WIDTH, 3), 150, np.float32)  # a grey wall, or the first room given
        if studio.maps:
            room = draw.hdri_view(studio.maps[0], m[:3, :3], 2 * np.arctan(WIDTH / 2 / f), (WIDTH, HEIGHT))
            room = np.clip(room * 0.35 / max(float(np.median(room)), 1e-3), 0, 1)
            behind = cv2.GaussianBlur(255 * room ** (1 / 2.2), (0, 0), 3).astype(np.float32)
        previous = poses[SCRIPT[0][0]]
        frames: list[Picture] = []
        for name, move, hold in SCRIPT:
            steps = round(move * FPS)
            for i in range(steps + round(hold * FPS)):
                part = min(1.0, (i + 1) / steps) if steps else 1.0
                pose = posture.between(previous, poses[name], 0.5 - 0.5 * np.cos(np.pi * part))
                t = len(frames) / FPS  # a living hand sways a little
                vertices, joints = posture.bend(arm, pose)
                vertices, joints = scene.on_table(
                    rng, vertices, joints, azimuth=8 + 1.5 * np.sin(t), tilt=np.array([5.0, 2.0])
                )
                # The wrist rests in one place; what moves is the hand.
                shift = np.array([0.0, 0.085, 0]) - joints[0] * [1, 1, 0]
                picture = studio.painter.paint(
                    [(arm, vertices + shift, look, False)], light, [(k, m)], table
                )[0]
                alpha = picture[..., 3:].astype(np.float32) / 255
                image = picture[..., :3] + (1 - alpha) * behind + rng.normal(0, 2, (HEIGHT, WIDTH, 1))
                frames.append(np.clip(image, 0, 255).astype(np.uint8))
            previous = poses[name]
        _encode(out, frames)
    return len(frames)


def _encode(out: Path, frames: list[Picture]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name("partial-" + out.name)
    if ffmpeg := shutil.which("ffmpeg"):
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "-"]
        h264 = ["-c:v", "libx264", "-crf", "27", "-pix_fmt", "yuv420p", "-preset", "slow"]
        command = [ffmpeg, "-v", "error", "-y", *raw, *h264, str(partial)]
        result = subprocess.run(command, input=b"".join(f.tobytes() for f in frames), check=False)
        written = result.returncode == 0
    else:
        video = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
        for frame in frames:
            video.write(frame[..., ::-1])
        video.release()
        written = partial.is_file() and partial.stat().st_size > 0
    if not written:
        raise TrainError(f"{out} could not be written: try a name that ends in .mp4.")
    partial.replace(out)
