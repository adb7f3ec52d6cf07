"""Is a recording good enough to make an exercise of? In plain words, and what to record again."""

from __future__ import annotations

from collections.abc import Sequence

from handcoach import quality
from handcoach.errors import HandCoachError
from handcoach.quality import Finding
from handcoach.recording import Recording
from handcoach_train.posture.clusters import Fit

# Share of a posture's frames, held out, that are taken for another one.
MOST_OVERLAP, SOME_OVERLAP = 0.2, 0.1


def frames(recorded: Recording, labels: Sequence[str]) -> list[Finding]:
    """What is wrong with the frames themselves; those that refuse come first."""
    found: list[Finding] = []
    if len(labels) < 2:
        found.append(Finding("missing", True, labels[0] if labels else "-"))
    for label in labels:
        found += quality.of_posture(
            label,
            recorded.labels[label],
            recorded.times.get(label),
            recorded.takes.get(label),
            recorded.views.get(label),
        )
    spread = quality.light_spread(
        {label: recorded.views[label] for label in labels if label in recorded.views}
    )
    if spread is not None and spread < quality.LIGHT_SPREAD:
        found.append(Finding("one_lighting", False, ""))
    hands = {recorded.hands.get(label, recorded.hand) for label in labels}
    if len(hands) > 1 or "either" in hands:
        found.append(Finding("both_hands", False, ""))
    return _sorted(found)


def overlap(fit: Fit) -> list[Finding]:
    """Postures that the fit takes for one another on frames that it has not seen. One way is enough: frames
    recorded under another posture's name are taken for what they show, and that one's own are not."""
    confusion = fit.quality["confusion_held_out"]
    found = []
    for i, one in enumerate(fit.labels):
        for other in fit.labels[i + 1 :]:
            mixed = max(
                confusion[a][b] / max(1, sum(confusion[a].values())) for a, b in ((one, other), (other, one))
            )
            if mixed > SOME_OVERLAP:
                found.append(Finding("overlap", mixed > MOST_OVERLAP, one, {"other": other, "share": mixed}))
    return _sorted(found)


def refuse(found: Sequence[Finding]) -> None:
    """Raises HandCoachError with the first sentence that refuses, if there is one."""
    for finding in found:
        if finding.refuses:
            raise HandCoachError(finding.sentence)


def _sorted(found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: not finding.refuses)
