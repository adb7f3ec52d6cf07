"""Training data: HanCo (real or rendered), FreiHAND, any folder with landmarks, and photographs with
pseudo-labelled points.

Everything is held as one `Samples`: where the picture is, where the joints are in it, and in 3D where that
is known. Cut-outs are made by the runtime's own `Crop`.
"""

from handcoach_train.data.cutouts import LandmarkSet, colour, jitter, overlap, target
from handcoach_train.data.frames import FinderSet
from handcoach_train.data.layouts import (
    HARD_NEGATIVES,
    layout,
    load,
    load_all,
    load_folder,
    load_frames,
    load_hanco,
    variant_of,
)
from handcoach_train.data.paper import HandDataset, split_by, squared
from handcoach_train.data.photos import (
    PHOTOS_HELD_OUT,
    empty_areas,
    load_photos,
    photo_samples,
    read_boxes,
    recordings,
    shrink,
    with_boxes,
)
from handcoach_train.data.resident import ResidentSet
from handcoach_train.data.samples import Draw, Samples, held_out, join, read_image

__all__ = [
    "HARD_NEGATIVES",
    "PHOTOS_HELD_OUT",
    "Draw",
    "FinderSet",
    "HandDataset",
    "LandmarkSet",
    "ResidentSet",
    "Samples",
    "colour",
    "empty_areas",
    "held_out",
    "jitter",
    "join",
    "layout",
    "load",
    "load_all",
    "load_folder",
    "load_frames",
    "load_hanco",
    "load_photos",
    "overlap",
    "photo_samples",
    "read_boxes",
    "read_image",
    "recordings",
    "shrink",
    "split_by",
    "squared",
    "target",
    "variant_of",
    "with_boxes",
]
