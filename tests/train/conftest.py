"""What the tests of networks share."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Tiny networks gain nothing from a second thread, and a busy machine loses by it."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Eight hands as dots, the last three without depth."""
    import cv2
    import numpy as np
    from tiny.hands import template

    from handcoach_train.data import Samples

    folder = tmp_path_factory.mktemp("photos")
    n = 8
    joints = np.stack([(template(i / n) + np.array([0.05 * i, 0, 6])) * 0.1 for i in range(n)])
    joints = joints.astype(np.float32)
    k = np.array([[200.0, 0, 80], [0, 200, 100], [0, 0, 1]], np.float32)
    points = (joints @ k.T)[..., :2] / joints[..., 2:]
    files = []
    for i in range(n):
        image = np.full((160, 160, 3), 60, np.uint8)
        for x, y in points[i]:
            cv2.circle(image, (int(x), int(y)), 3, (200, 180, 160), -1)
        files.append(folder / f"{i}.png")
        cv2.imwrite(str(files[-1]), image)
    joints[5:] = np.nan
    return Samples(
        files, points, joints, np.tile(k, (n, 1, 1)), np.arange(n) % 2 == 0, np.arange(n).astype(str)
    )


@pytest.fixture(scope="module")
def frames(samples):
    """The same as photographs for the finder."""
    return [
        {"file": f, "group": "g", "hands": [{"points": p.tolist(), "side": "right" if r else "left"}]}
        for f, p, r in zip(samples.files, samples.points, samples.right, strict=True)
    ]


@pytest.fixture(scope="module")
def tiny_backbone():
    """The backbone `tiny` exists."""
    from tiny.networks import add_tiny_backbone

    from handcoach_train import networks

    add_tiny_backbone()
    yield
    del networks.BACKBONES["tiny"]
