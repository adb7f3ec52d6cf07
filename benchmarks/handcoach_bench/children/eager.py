"""A checkpoint in PyTorch as it is, without ONNX: what the models are measured against.

Task: a `Case` whose model is a checkpoint of handcoach-train and whose provider is "PyTorch CPU" or "PyTorch
CUDA".
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

from handcoach.errors import HandCoachError
from handcoach_bench.children.serve import serve
from handcoach_bench.stopwatch import measure, peak_rss_mb, rss_mb


def eager(case: dict[str, Any]) -> dict[str, Any]:
    """Run the network on one random picture of its size, batch 1.

    Raises:
        HandCoachError: PyTorch is not there, has no such device, or the file is no checkpoint.
    """
    try:
        import torch

        from handcoach_train.networks import load_checkpoint
    except ImportError as error:
        raise HandCoachError(
            f'{error.name} is missing, without which nothing is eager: pip install "handcoach[train]".'
        ) from error
    device = case["provider"].removeprefix("PyTorch ").lower()
    if device != "cpu" and not torch.cuda.is_available():
        raise HandCoachError("PyTorch sees no CUDA device here.")
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    start = time.perf_counter()
    network, config = load_checkpoint(Path(case["model"]))
    network = network.to(device).eval()
    load = time.perf_counter() - start
    kind = str(config["kind"])
    height, width = (config["size"],) * 2 if kind == "landmarks" else (config["height"], config["width"])
    image = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)

    def step(given: torch.Tensor) -> None:
        with torch.inference_mode():
            network(given.to(device))
        if device == "cuda":
            torch.cuda.synchronize()

    times = measure(step, case["warmup"], case["runs"], lambda _: image)
    ran = next(network.parameters()).device.type
    return {
        **times,
        "provider": f"PyTorch {ran.upper()}",
        "load_ms": 1e3 * load,
        "sha256": {"checkpoint": hashlib.sha256(Path(case["model"]).read_bytes()).hexdigest()},
        "versions": {"torch": torch.__version__},
        "steady_rss_mb": rss_mb(),
        "peak_rss_mb": peak_rss_mb(),
    }


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:], eager))
