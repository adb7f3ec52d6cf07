"""Configurations of networks small enough to be built in a test."""

LANDMARKS = {"kind": "landmarks", "name": "small", "size": 64}
FINDER = {"kind": "finder", "name": "finder", "height": 64, "width": 96, "max_hands": 3}
SMALL = {**LANDMARKS, "backbone": "tiny"}  # see `add_tiny_backbone`


def add_tiny_backbone() -> None:
    """A backbone of five layers, `tiny`, where a test trains: MobileNetV2 takes seconds for a step or two."""
    from itertools import pairwise

    from torch import nn

    from handcoach_train import networks

    def make() -> nn.Sequential:
        widths = (3, 8, 8, 8, 16, 16)
        return nn.Sequential(*(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        ))  # fmt: skip

    networks.BACKBONES["tiny"] = networks._Backbone(make, 4, 16, 16)
