"""Every choice that changes the weights, as one frozen record that a checkpoint carries."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from handcoach_train.errors import TrainError
from handcoach_train.networks import check_sides


@dataclass(frozen=True)
class Recipe:
    """What our trainings share.

    Attributes:
        steps: of the optimiser; a multiple of check_every, after which the validation data are looked at.
        batch: pictures of one step, over all devices and accumulated parts.
        rate: peak learning rate of AdamW: `warmup` steps up, then a cosine down to a two-hundredth.
        decay: weight decay of matrices; biases and norms have none. clip: of the gradient's norm.
        ema: how much of the weights' average a step keeps; 0: no averaging.
        photo_share: of every batch, real photographs. The few thousand there are would drown in renders.
    """

    steps: int = 20_000
    batch: int = 64
    rate: float = 1e-3
    seed: int = 0
    check_every: int = 500
    warmup: int = 200
    decay: float = 0.02
    clip: float = 2.0
    ema: float = 0.998
    photo_share: float = 0.25

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "check_every"):
            if getattr(self, name) < 1:
                raise TrainError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if self.steps % self.check_every:
            raise TrainError(
                f"steps is {self.steps}: it must be a multiple of check_every, {self.check_every}."
            )
        if not 0 <= self.photo_share <= 1 or not 0 <= self.ema < 1:
            raise TrainError("photo_share must be in 0..1, and ema in 0..1 without 1.")
        check_numbers(self)


def check_numbers(recipe: Recipe | PaperRecipe) -> None:
    """Raises TrainError: a number of a recipe is negative or none."""
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            raise TrainError(f"{field.name} is {value}: it must be 0 or more.")


@dataclass(frozen=True)
class LandmarkRecipe(Recipe):
    """Weights of the landmark network's losses (`losses.landmark_loss`), and what it is shown.

    Attributes:
        project: photographs have no depth, but their landmarks must project on their points.
        lifted: weight of what `lift` guessed of the photographs' 3D, where the labels have it.
        steady: a quarter of the pictures (of the MLP alone: all) are shown again, a little moved and
            with a camera's noise, and are to give the same landmarks and points; 0: not.
        limits: weight of joints that bend farther than people's do; 0: not asked.
        sizes: picture sizes with their share of the steps, as "128:0.6,160:0.4"; empty: one size throughout.
        head: integral or pooled (`LandmarkNet`).
        mirror: left hands are mirrored to right ones, all but a fifth; else both sides are shown alike.
        roll: cut-outs are turned so that the hand points up.
        teacher: checkpoint of a landmark network whose landmarks and points the photographs also follow,
            weighed by `distil`; empty: none.
        freeze: first layers of the backbone that stay as they are, batch statistics included. The early
            ones are half of a step's time; a training that starts from a trained network can do without.
    """

    landmarks: float = 1.0
    bones: float = 1.0
    points: float = 4.0
    project: float = 0.5
    lifted: float = 0.5
    steady: float = 0.0
    limits: float = 0.0
    presence: float = 0.1
    right: float = 0.1
    sizes: str = ""
    head: str = "integral"
    mirror: bool = True
    roll: bool = True
    teacher: str = ""
    distil: float = 1.0
    freeze: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distil != type(self).distil and not self.teacher:
            raise TrainError("distil weighs a teacher: --set teacher=CHECKPOINT.")


@dataclass(frozen=True)
class HeadRecipe(LandmarkRecipe):
    """The same losses for the MLP alone (`training/head.py`), or for all layers from stride 16 on.

    Attributes:
        hidden: its units. looks: how often each picture is looked at, changed in another way each time.
        dropout: of the pooled features.
        late: the backbone's last layers and the heat maps learn too. A look then keeps maps, not features:
            40 KB of a picture at 160 pixels, in memory as on the disk.
        keep: weight of presence and side being said as by the network that was begun with, whose features
            change under them.
    """

    steps: int = 2_500
    batch: int = 512
    check_every: int = 250
    warmup: int = 100
    decay: float = 0.01
    ema: float = 0.995
    photo_share: float = 0.3
    lifted: float = 0.25
    limits: float = 0.5
    hidden: int = 1024
    looks: int = 3
    dropout: float = 0.2
    late: bool = False
    keep: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        _of_a_trained_network(self)
        if self.keep != type(self).keep and not self.late:
            raise TrainError("keep belongs to the late layers: --set late=true.")
        if self.looks < 1 or self.hidden < 1 or not 0 <= self.dropout < 1:
            raise TrainError("looks and hidden must be at least 1, and dropout in 0..1 without 1.")


@dataclass(frozen=True)
class NarrowRecipe(LandmarkRecipe):
    """A narrower network that is taught to say what the one it was cut from says (`training/narrow.py`). The
    weights of `LandmarkRecipe` make the validation's loss alone.

    Attributes:
        time: share that is left of the time that the whole network's blocks take.
        seen: weight of what the MLP sees, beside what it says.
    """

    steps: int = 800
    rate: float = 3e-4
    check_every: int = 200
    warmup: int = 30
    ema: float = 0.99
    photo_share: float = 0.3
    time: float = 0.6
    seen: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.time <= 1:
            raise TrainError(f"time is {self.time:g}: it must be in 0..1 without 0.")
        if self.steady:
            raise TrainError("steady belongs to a whole network's training and to the last layers'.")
        _of_a_trained_network(self)


def _of_a_trained_network(recipe: LandmarkRecipe) -> None:
    if recipe.teacher or recipe.sizes or recipe.freeze or recipe.head != "integral":
        raise TrainError("teacher, sizes, freeze and head belong to a whole network's training.")


@dataclass(frozen=True)
class FinderRecipe(Recipe):
    """Weights of the finder's losses (`losses.finder_loss`)."""

    steps: int = 8_000
    heat: float = 1.0
    place: float = 10.0
    extent: float = 1.0
    side: float = 0.6


@dataclass(frozen=True)
class PaperRecipe:
    """Section 5.1 of the paper to the letter; 5.1.3 and 6.1 are its options.

    Attributes:
        rate: of Adam; after `patience` epochs without a lower validation loss it is divided by ten.
        stop: epochs without a lower validation loss, after which the training ends.
        split: 80/10/10 by floor, of sequences or subjects; `image` is the paper's, which leaks between
            cameras and frames.
        epochs: at most.
        dropout: before the last layer (5.1.3). huber: Huber's loss with this delta instead of the squared
            error, 0: the squared error (5.1.3). joints: 20 leaves out the wrist (6.1).
        augment: section 4.2's augmentation.
    """

    epochs: int = 1000
    batch: int = 16
    rate: float = 1e-5
    seed: int = 42
    patience: int = 5
    factor: float = 0.1
    stop: int = 10
    split: str = "sequence"
    joints: int = 21
    dropout: float = 0.0
    huber: float = 0.0
    augment: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "stop"):
            if getattr(self, name) < 1:
                raise TrainError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if not 0 <= self.dropout < 1:
            raise TrainError(f"dropout is {self.dropout:g}: it must be in 0..1 without 1.")
        if not 0 < self.factor < 1:
            raise TrainError(f"factor is {self.factor:g}: it must be between 0 and 1.")
        check_numbers(self)


AnyRecipe = Recipe | PaperRecipe
R = TypeVar("R", bound=AnyRecipe)


def changed(recipe: R, settings: list[str], **options: Any) -> R:
    """The recipe with these options, and then with `NAME=VALUE` settings.

    Raises:
        TrainError: no such name, or not a value of its type.
    """
    values = {**options}
    names = {f.name: type(getattr(recipe, f.name)) for f in fields(recipe)}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in names:
            raise TrainError(f"--set {setting} is unknown: give NAME=VALUE, with one of {', '.join(names)}.")
        values[name] = _value(name, text, names[name])
    return dataclasses.replace(recipe, **values)


def _value(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        word = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise TrainError(f"--set {name}={text}: {name} must be {word}.") from error


def read_sizes(text: str, size: int) -> list[tuple[int, float]]:
    """[(size, share of the steps)] of "128:0.6,160:0.4", the shares made to add up to 1.

    Args:
        size: what it is where the text is empty.

    Raises:
        TrainError: not such a text, or a size that does not fit the network.
    """
    if not text:
        check_sides(size)
        return [(size, 1.0)]
    try:
        pairs = [(int(s), float(w)) for s, w in (part.split(":") for part in text.split(","))]
        if min(w for _, w in pairs) <= 0:
            raise ValueError("a share that is not positive")
    except ValueError as error:
        raise TrainError(f"--sizes {text} is not like 128:0.6,160:0.4 (size and share).") from error
    check_sides(*(s for s, _ in pairs))
    total = sum(w for _, w in pairs)
    return [(s, w / total) for s, w in pairs]
