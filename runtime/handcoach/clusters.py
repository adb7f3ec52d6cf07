"""Where an exercise's clusters are: the file does not say it, but its graph gives it away.

Joints that are none of the palm's do not move the hand frame, and a squared distance to a centroid is a
paraboloid in their coordinates, the same for every hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach.hand import Array, hand_axes

THUMB = (1, 2, 3, 4)
FINGERTIPS = (6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20)  # and the joints to them, without the knuckles


class Free:
    """Joints of a hand that may be anywhere, the others being what they are, and where each cluster has them.

    Attributes:
        joints: n of them, none of wrist, index and little MCP.
    """

    def __init__(
        self, run: Callable[[Array], Mapping[str, NDArray[Any]]], reference: Array, joints: Sequence[int]
    ) -> None:
        """Args:
        run: the exercise's graph. reference: canonical (21, 3), any hand.
        """
        self.joints = list(joints)
        one = self.moved(reference).astype(np.float64)
        steps = one[1:] - one[0]
        i, j = np.triu_indices(len(steps))
        hands = np.concatenate([one, one[0] + steps[i] + steps[j]]).astype(np.float32)
        squares = run(hands)["distances"].astype(np.float64) ** 2
        here, single, pairs = squares[0], squares[1 : len(one)], squares[len(one) :]
        bend = np.zeros((squares.shape[1], len(steps), len(steps)))
        if np.isfinite(squares).all():  # else nothing can be told, and nothing is moved
            bend[:, i, j] = bend[:, j, i] = (pairs - single[i] - single[j] + here).T / 2
        # How a squared distance rises with each coordinate (3n, K); the inverse of all that (K, 3n, 3n).
        self._rise = np.diagonal(bend, axis1=1, axis2=2).T
        self._inverse = np.asarray(np.linalg.pinv(bend, 1e-4, hermitian=True), np.float64)

    def moved(self, hand: Array) -> Array:
        """A hand (21, 3), and it with each of the joints moved along each axis of its hand frame by one unit:
        float32 (1 + 3n, 21, 3)."""
        moved = np.repeat(hand[None], 1 + 3 * len(self.joints), axis=0)
        axes = hand_axes(hand)
        for n in range(len(moved) - 1):
            moved[1 + n, self.joints[n // 3]] += axes[n % 3]
        return moved

    def nearest(self, distances: Array) -> tuple[NDArray[np.float64], Array]:
        """Each cluster's place for the joints of a hand, and how far that hand would be with them there: the
        distance of all other joints, where coordinates count each for itself, and their Mahalanobis distance
        where they are mixed (Schur complement).

        Args:
            distances: (1 + 3n, K) of the hands of `moved`.

        Returns:
            from where the joints are, in the hand frame (K, n, 3); distances float32 (K,).
        """
        squares = distances.astype(np.float64) ** 2
        slope = (squares[1:] - squares[0] - self._rise).T
        way = -np.einsum("kij,kj->ki", self._inverse, slope) / 2
        left = squares[0] + (slope * way).sum(1) / 2
        return way.reshape(len(way), -1, 3), np.asarray(np.sqrt(np.maximum(left, 0)), np.float32)
