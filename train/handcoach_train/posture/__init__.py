"""Postures from landmarks (the paper's section 5.2), in scikit-learn; no torch in here.

`clusters` fits hand frame and k-means and gives a `Fit`. `study` measures what such a fit is worth, `gate`
says whether a recording is good enough to make an exercise of, `figures` draws what `study` measured, and
`paper` reproduces the paper's figures 9, 10 and 14.
"""

from handcoach.exercise import margins
from handcoach_train.posture.clusters import Fit, HandFrame, fit, reference, tolerance

__all__ = ["Fit", "HandFrame", "fit", "margins", "reference", "tolerance"]
