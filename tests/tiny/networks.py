"""Configurations of networks small enough to be built in a test."""

LANDMARKS = {"kind": "landmarks", "name": "small", "size": 64}
FINDER = {"kind": "finder", "name": "finder", "height": 64, "width": 96, "max_hands": 3}
