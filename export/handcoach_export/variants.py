"""Variants of a landmark network: as it was trained, in eight-bit integers, at other sizes; each one judged.

Calibrated on pictures of the training split, chosen (ranges, layers that stay float) on the validation split,
judged on the test split. A variant that loses more than MOST_LOST of the PA-MPJPE against its source, the
float network at the size that it was trained for, is refused.

What a file says of it, in its metadata under `variant`:

    of          name of the network        precision   int8, fp16 or fp32
    source      checkpoint and its SHA-256  lost       share of the source's PA-MPJPE (negative: gained)
    pa_mpjpe    {mean, source, unit, ci95, hands, cut_outs}
    ranges, in_float, fused    of int8: how ranges were found, how many layers of it stay float, largest
                difference between this processor's integers and the operators' definition

One graph of landmark network, hand frame and clusters together was tried and measured at most 1.7 % faster:
it is not worth a second kind of file.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from handcoach import model, pipeline, places
from handcoach.crop import MARGIN, Crop, crop_around
from handcoach.errors import HandCoachError
from handcoach.hand import Frame
from handcoach.measure import interval
from handcoach.session import Session
from handcoach_export import contract, networks
from handcoach_export.quantise import METHODS, Quantised, optimise, quantise, run_as_defined
from handcoach_train import data, metrics
from handcoach_train.evaluate import CROPS, has_truth, of_session, predict

FORMAT = 1
PRECISIONS = ("int8", "fp16", "fp32")
SIZES = (128, 144, 160, 192, 224)
MOST_LOST = 0.03  # of the source's PA-MPJPE
CALIBRATE = 64  # pictures; all of a layer's values are in memory at once
MOST_BYTES = 70_000_000  # of a file that is shipped
ROUNDS = 40  # turns of the stopwatch
RUNS = 5  # of each file in a turn
SENSITIVE = 4  # layers that are tried in float
# From where on a difference counts, as shares: what two measurements of the same file differ by is less.
CLEARLY = {"bytes": 0.01, "ms": 0.05, "pa_mpjpe": 0.005}
WORDS = {"bytes": "smaller", "ms": "faster", "pa_mpjpe": "more accurate"}


@dataclass(frozen=True)
class Hands:
    """Pictures of hands by what they are for; no sequence and no recording is there for two things.

    Attributes:
        calibrate: pictures and the cut-outs of their hands. choose, judge: labelled hands.
    """

    calibrate: list[tuple[Path, Crop]]
    choose: data.Samples
    judge: data.Samples

    def calibration(self, size: int, margin: float = MARGIN, roll: bool = True) -> NDArray[np.uint8]:
        """(N, size, size, 3), cut out as the network's own crop says."""
        crops = (
            replace(crop, size=crop.size * margin / MARGIN, roll=crop.roll if roll else 0.0)
            for _, crop in self.calibrate
        )
        files = (file for file, _ in self.calibrate)
        return np.stack([crop.cut(data.read_image(f), size) for f, crop in zip(files, crops, strict=True)])


def gather(
    folders: Sequence[Path], photographs: Sequence[Path], count: int, variant: str | None = None,
    trained: Sequence[str | None] = (None,),
) -> Hands:  # fmt: skip
    """Hands of labelled data sets, and of plain photographs, in which the shipped models look for them.

    Args:
        folders: data sets with joints in 3D (`handcoach_train.data.load`), split by sequence as in training.
        photographs: folders of pictures; what training holds back of them is left out.
        count: hands to judge on; half as many to choose on.
        variant: of the pictures; None: `trained`, what the networks were trained on, where a data set has it.

    Raises:
        HandCoachError: a folder is missing or too small, there is nothing to calibrate on, or the networks
            were trained on different variants.
    """
    if count < 1:
        raise HandCoachError(f"{count} hands judge nothing: give --count a number of at least 1.")
    if variant is None and len(set(trained)) > 1:
        named = ", ".join(sorted(str(name or "the usual one") for name in set(trained)))
        raise HandCoachError(f"The networks were trained on different variants ({named}): give --variant.")
    parts = [_split(folder, data.variant_of(folder, variant, trained[0])) for folder in folders]
    train, choose, judge = (data.join([part[i] for part in parts]) for i in range(3))
    if not all(map(len, (train, choose, judge))):
        raise HandCoachError(
            "Too few hands have joints in 3D to calibrate, to choose and to judge: give more."
        )
    rng = np.random.default_rng(5)
    some = _some(train, CALIBRATE - CALIBRATE // 2 if photographs else CALIBRATE, rng)
    rendered = [
        (file, data.jitter(crop_around(points, mirrored=not right), rng))
        for file, points, right in zip(some.files, some.points, some.right, strict=True)
    ]
    calibrate = rendered + list(_in_photographs(photographs, CALIBRATE // 2, rng))
    return Hands(calibrate, _some(choose, (count + 1) // 2, rng), _some(judge, count, rng))


def _split(folder: Path, variant: str | None) -> list[data.Samples]:
    """The three splits of a data set's hands with joints in 3D. The others are left out afterwards, or the
    splits were not those of the training."""
    splits = [part.take(has_truth(part)) for part in data.split_by(data.load(folder, variant))]
    if not any(map(len, splits)):
        raise HandCoachError("A data set without joints in 3D judges nothing: give --data rendered hands.")
    return splits


def _some(samples: data.Samples, most: int, rng: np.random.Generator) -> data.Samples:
    return samples.take(np.sort(rng.permutation(len(samples))[:most]))


def _in_photographs(
    folders: Sequence[Path], most: int, rng: np.random.Generator
) -> Iterator[tuple[Path, Crop]]:
    """Hands that the program itself finds, as it cuts them out; each folder gives the same number."""
    if not folders:
        return
    line = pipeline.load(still=True)
    for folder in folders:
        if not folder.is_dir():
            raise HandCoachError(f"There is no folder {folder}: give --photos a folder of photographs.")
        names = sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.suffix.lower() in networks.SUFFIXES
        )
        if not names:
            raise HandCoachError(f"There are no photographs in {folder}: give --photos another folder.")
        groups = np.array(data.recordings(names, folder))
        kept = np.flatnonzero(~data.held_out(groups, data.PHOTOS_HELD_OUT))
        wanted = left = -(-most // len(folders))
        for i in rng.permutation(kept)[: 4 * left]:
            file = folder / names[i]
            image = data.read_image(file)
            hand = line.step(Frame(image, 0.0, 0))[0].hand
            if hand is None:
                continue
            yield file, crop_around(hand.points, mirrored=hand.side == "left")
            left -= 1
            if not left:
                break
        if left == wanted:
            raise HandCoachError(f"No hand was found in the photographs of {folder}: give --photos others.")


def error(session: Session, hands: data.Samples) -> tuple[float, str, tuple[float, float]]:
    """Mean PA-MPJPE over exact and jittered cut-outs, its unit, and its 95 % interval
    (`measure.interval`)."""
    name = session.file.path.name
    parts = [predict(of_session(session), hands, crop == "jittered", f"{name}, {crop}") for crop in CROPS]
    values = np.array([metrics.pa_mpjpe(part.said, part.truth) for part in parts])
    scale = np.array([part.scale for part in parts])
    in_mm = bool(np.isfinite(scale).all())
    of_hand = (1000 * values * scale if in_mm else values).mean(0)
    unit = "mm" if in_mm else "wrist to middle MCP"
    return float(of_hand.mean()), unit, interval(of_hand.tolist())


@dataclass
class Row:
    """What became of one variant.

    Attributes:
        file: its name. of, precision, size: what it is. pa_mpjpe: mean on the test split, in `unit`; lost: as
        a share of its source's. parity: largest difference to PyTorch over all outputs. bytes: of the file.
        ms: CPU time for one picture on one thread, the median. kept, why: it stays, or not.
    """

    file: str
    of: str
    precision: str
    size: int
    pa_mpjpe: float
    unit: str
    lost: float
    parity: float
    bytes: int = 0
    ms: float = 0.0
    kept: bool = False
    why: str = ""


class Maker:
    """Makes and judges the variants of one checkpoint.

    Attributes:
        of: name of the network. size: that it was trained for. error, unit: PA-MPJPE of it there, in float.
    """

    def __init__(self, checkpoint: Path, hands: Hands, images: Path, folder: Path) -> None:
        """
        Args:
            images: pictures on which parity with PyTorch is measured. folder: for files of a moment.

        Raises:
            HandCoachError: the checkpoint is missing or no landmark network.
        """
        self.checkpoint, self.hands, self.images, self.folder = checkpoint, hands, images, folder
        source = networks.load("landmarks", checkpoint)
        self.of, self.size = str(source.meta["name"]), int(source.meta["size"])
        self.crop: dict[str, Any] = source.meta["crop"]
        self.float = optimise(source.to_onnx(source.pictures(images)))
        self.error, self.unit, _ = error(self._session(self.float, source), hands.judge)
        self.chosen: dict[str, Any] = {}
        self.integers: onnx.ModelProto | None = None  # as chosen, at the network's own size
        self.tried: list[dict[str, Any]] = []

    def make(self, precision: str, size: int, output: Path) -> Row:
        """Write this variant.

        Raises:
            RefusedError: it lost too much, or does not give what PyTorch gives.
        """
        source = networks.load("landmarks", self.checkpoint, name=output.stem, size=size)
        batch = source.pictures(self.images)
        graph = source.to_onnx(batch)
        about: dict[str, Any] = {"of": self.of, "precision": precision, "source": source.meta["source"]}
        if precision == "int8":
            own = self.choose()
            graph = own if size == self.size else self._integers(optimise(graph), size, **self.chosen).graph
            about |= {"ranges": self.chosen["ranges"], "in_float": len(self.chosen["in_float"])}
        elif precision == "fp32":
            graph = optimise(graph)
        if precision != "fp32":
            networks.store_halves(graph)

        def compare(session: Session) -> contract.Parity:
            parity = source.compare(session, batch)
            mean, unit, within = error(session, self.hands.judge)
            lost = mean / self.error - 1
            variant = about | {"lost": round(lost, 5), "pa_mpjpe": {
                "mean": round(mean, 4), "source": round(self.error, 4), "unit": unit,
                "ci95": [round(end, 4) for end in within],
                "hands": len(self.hands.judge), "cut_outs": list(CROPS),
            }}  # fmt: skip
            problem, limit = parity.problem, None
            if precision == "int8":
                limit = float("inf")  # integers are judged by what they are for
                variant["fused"] = round(self._fused(session, graph, batch), 5)
            if not lost <= MOST_LOST:
                problem = (
                    f"a PA-MPJPE of {mean:.2f} instead of {self.error:.2f} {unit} is {lost:.1%} more, and "
                    f"{MOST_LOST:.0%} is the most"
                )
            facts = {"variant": variant}
            return contract.Parity(parity.max_abs, parity.images, parity.against, problem, limit, facts)

        meta = contract.write(graph, output, source.meta, compare)
        row = row_of(output, size, meta["variant"], meta["parity"]["max_abs"])
        row.bytes = output.stat().st_size
        return row

    def choose(self) -> onnx.ModelProto:
        """Ranges, and layers that stay float, by the validation split at the network's own size; the graph
        there."""
        if self.integers is not None:
            return self.integers
        source = networks.load("landmarks", self.checkpoint)
        best: Quantised | None = None
        least = np.inf

        def judged(**choice: Any) -> tuple[Quantised, float]:
            made = self._integers(self.float, self.size, **choice)
            mean, *_ = error(self._session(made.graph, source), self.hands.choose)
            self.tried.append({**choice, "pa_mpjpe": round(mean, 4)})
            return made, mean

        for ranges in METHODS:
            made, mean = judged(ranges=ranges, in_float=())
            if mean < least:
                best, least, self.chosen = made, mean, {"ranges": ranges, "in_float": ()}
        assert best is not None
        noise = best.layers
        worst = sorted(noise, key=lambda name: -noise[name])[:SENSITIVE]
        made, mean = judged(ranges=self.chosen["ranges"], in_float=tuple(worst))
        if mean < least * (1 - CLEARLY["pa_mpjpe"]):
            best, self.chosen["in_float"] = made, tuple(worst)
        self.integers = best.graph
        return self.integers

    def _integers(
        self, graph: onnx.ModelProto, size: int, ranges: str, in_float: tuple[str, ...]
    ) -> Quantised:
        return quantise(graph, self.hands.calibration(size, **self.crop), METHODS[ranges], in_float)

    def _session(self, graph: onnx.ModelProto, source: networks.Source) -> Session:
        """The graph as the runtime runs it, without a promise."""
        file = self.folder / "trial.onnx"
        contract.write(graph, file, source.meta, lambda _: contract.Parity(0.0, 0, "pytorch"))
        return Session(model.read(file))

    @staticmethod
    def _fused(session: Session, graph: onnx.ModelProto, batch: NDArray[np.uint8]) -> float:
        """Largest difference between the integer arithmetic of this processor and what the operators mean. It
        would be large where sums of products saturate."""
        ours, names = session.run(batch), [value.name for value in graph.graph.output]
        apart = zip(names, run_as_defined(graph, batch), strict=True)
        return max(float(np.abs(ours[name] - defined).max()) for name, defined in apart)


def row_of(output: Path, size: int, variant: dict[str, Any], parity: float) -> Row:
    """A row without what only a written file has."""
    pa = variant["pa_mpjpe"]
    return Row(
        output.name,
        variant["of"],
        variant["precision"],
        size,
        pa["mean"],
        pa["unit"],
        variant["lost"],
        parity,
    )


def quantize(
    checkpoint: Path, output: Path, hands: Callable[..., Hands], images: Path, size: int | None = None
) -> Row:
    """Write a landmark network in eight-bit integers.

    Args:
        hands: `gather`, which takes its time, but for `trained`; asked when all else is known to be there.

    Raises:
        HandCoachError: something is missing; RefusedError: it lost too much, and nothing was written.
    """
    trained = [networks.load("landmarks", checkpoint, size=size).variant]
    with tempfile.TemporaryDirectory(prefix="handcoach-export-") as folder:
        maker = Maker(checkpoint, hands(trained=trained), images, Path(folder))
        return maker.make("int8", size or maker.size, output)


# --- all of them ---


def make_all(
    checkpoints: Sequence[Path],
    out: Path,
    hands: Callable[..., Hands],
    images: Path,
    precisions: Sequence[str] = PRECISIONS,
    sizes: Sequence[int] = SIZES,
) -> dict[str, Any]:
    """Make, judge and time every variant; those that are worth it are in `out` afterwards, with variants.md
    and variants.json.

    Of a network NAME: NAME.onnx is the default, NAME-float.onnx the float one beside it, NAME-128.onnx
    another size.

    Args:
        hands: as for `quantize`.

    Raises:
        HandCoachError: an unknown precision or size, something is missing, or no variant of a network passed.
    """
    _known(precisions, sizes)
    if not out.is_dir():
        raise HandCoachError(f"The folder {out} does not exist: make it or choose another.")
    sources = (networks.load("landmarks", checkpoint) for checkpoint in checkpoints)
    names, trained = zip(*((source.meta["name"], source.variant) for source in sources), strict=True)
    if len(set(names)) < len(names):
        raise HandCoachError("Two checkpoints have the same name: train one with another --name.")
    found = hands(trained=trained)
    with tempfile.TemporaryDirectory(prefix=".variants-", dir=out) as folder:
        work = Path(folder)
        makers = [Maker(checkpoint, found, images, work) for checkpoint in checkpoints]
        plan = [(maker, *what) for maker in makers for what in _plan(maker.size, precisions, sizes)]
        rows: list[Row] = []
        for maker, precision, size in tqdm(plan, unit="variant", disable=None):
            output = work / f"{maker.of}{_suffix(precision, size, maker.size)}.onnx"
            try:
                rows.append(maker.make(precision, size, output))
            except contract.RefusedError as refused:
                parity = refused.parity
                rows.append(row_of(output, size, parity.facts["variant"], parity.max_abs))
                rows[-1].why = f"refused: {parity.problem or f'{parity.max_abs:.1e} from PyTorch'}"
        _time(rows, work, found)
        for maker in makers:
            _keep([row for row in rows if row.of == maker.of], maker.size)
        for maker in makers:
            _publish([row for row in rows if row.of == maker.of], maker, work, out)
    report = {
        "format": FORMAT,
        "machine": {
            "processor": _processor(), "system": platform.platform(), "onnxruntime": onnxruntime.__version__,
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
        "hands": {"calibrate": len(found.calibrate), "choose": len(found.choose), "judge": len(found.judge)},
        "variants": [asdict(row) for row in rows],
        "tried": {maker.of: maker.tried for maker in makers},
    }  # fmt: skip
    for name, text in (("variants.json", json.dumps(report, indent=1)), ("variants.md", table(report))):
        places.save(out / name, (text + "\n").encode())
    return report


def _known(precisions: Sequence[str], sizes: Sequence[int]) -> None:
    for what, given, known in (("precision", precisions, PRECISIONS), ("size", sizes, SIZES)):
        unknown = [str(value) for value in given if value not in known]
        if unknown:
            raise HandCoachError(
                f"There is no {what} {', '.join(unknown)}: take some of {', '.join(map(str, known))}."
            )


def _plan(own: int, precisions: Sequence[str], sizes: Sequence[int]) -> list[tuple[str, int]]:
    """What to make, the most wanted first. At other sizes fp32 would again give what fp16 gives."""
    here = [(precision, own) for precision in PRECISIONS if precision in precisions]
    return here + [(p, s) for p in ("int8", "fp16") if p in precisions for s in sizes if s != own]


def _suffix(precision: str, size: int, own: int) -> str:
    kind = {"int8": "", "fp16": "-float", "fp32": "-fp32"}[precision]
    return kind if size == own else f"-{size}{kind}"


def _time(rows: list[Row], work: Path, hands: Hands) -> None:
    """CPU time for a picture, in turns, so that a busy moment hits all alike."""
    made = [(row, Session(model.read(work / row.file))) for row in rows if row.bytes]
    pictures = {row.size: hands.calibration(row.size)[:1] for row, _ in made}
    times: dict[str, list[float]] = {row.file: [] for row, _ in made}
    for turn in range(ROUNDS + 3):
        for row, session in made:
            start = time.thread_time()
            for _ in range(RUNS):
                session.run(pictures[row.size])
            if turn >= 3:  # the first are warm-up
                times[row.file].append(1000 * (time.thread_time() - start) / RUNS)
    for row, _ in made:
        row.ms = float(np.median(times[row.file]))


def _keep(rows: list[Row], own: int) -> None:
    """Which of a network's variants are worth their place, in the order of the plan."""
    kept: list[Row] = []
    for row in rows:
        if not row.bytes:
            continue
        if row.bytes > MOST_BYTES:
            row.why = f"larger than {MOST_BYTES // 10**6} MB"
            continue
        useless = [other for other in kept if not better(row, other)]
        if row.precision == "fp16" and row.size == own and kept:
            row.why = "the float one: where integers are slower, `handcoach tune` takes it"
        elif useless:
            row.why = f"neither smaller, nor faster, nor more accurate than {useless[0].file}"
            continue
        else:
            more = (f"{' and '.join(better(row, other))} than {other.file}" for other in kept)
            row.why = "; ".join(more) or "the default"
        row.kept = True
        kept.append(row)
    if not kept:
        raise HandCoachError(
            f"No variant of {rows[0].of} is good enough ({rows[0].why}): calibrate on more pictures."
        )
    if gains := [word for other in kept[1:2] for word in better(kept[0], other)]:
        kept[0].why += f": {' and '.join(gains)} than {kept[1].file}"


def better(row: Row, other: Row) -> list[str]:
    """In what a variant is clearly better than another one."""
    return [
        word for key, word in WORDS.items() if getattr(row, key) < getattr(other, key) * (1 - CLEARLY[key])
    ]


def _publish(rows: list[Row], maker: Maker, work: Path, out: Path) -> None:
    """Put the kept files of a network in place, and take away what an earlier run left there."""
    default = next(row for row in rows if row.kept)
    if default.file != f"{maker.of}.onnx":  # its integers were refused
        maker.make(default.precision, default.size, work / f"{maker.of}.onnx")
        default.file = f"{maker.of}.onnx"
    names = {f"{maker.of}{_suffix(p, s, maker.size)}.onnx" for p in PRECISIONS for s in (maker.size, *SIZES)}
    for row in rows:
        if row.kept:
            (work / row.file).replace(out / row.file)
    for name in names - {row.file for row in rows if row.kept}:
        (out / name).unlink(missing_ok=True)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(report: dict[str, Any]) -> str:
    """The report for people, in Markdown."""
    machine, hands = report["machine"], report["hands"]
    rows = report["variants"]
    lines = [
        "# Variants of the landmark networks",
        "",
        f"`handcoach-export variants` on {machine['processor']}, onnxruntime {machine['onnxruntime']}, one "
        f"thread, load {machine['load']} at its end. Calibrated on {hands['calibrate']} cut-outs of the "
        f"training split, chosen on {hands['choose']} hands of the validation split, judged on "
        f"{hands['judge']} of the test split, each in an exact and in a jittered cut-out. Lost: PA-MPJPE "
        f"beyond that of the float network at its own size, at most {MOST_LOST:.0%}. ms: CPU time for a "
        "picture, the median.",
        "",
        "| file | of | precision | pixels | MB | ms | from PyTorch | PA-MPJPE | lost | kept | why |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        size, ms = (f"{row['bytes'] / 1e6:.2f}", f"{row['ms']:.2f}") if row["bytes"] else ("", "")
        cells = (
            row["file"], row["of"], row["precision"], row["size"], size, ms, f"{row['parity']:.1e}",
            f"{row['pa_mpjpe']:.2f} {row['unit']}", f"{row['lost']:+.2%}", "yes" if row["kept"] else "no",
            row["why"],
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "Integers, on the validation split:", ""]
    lines += ["| network | ranges | layers in float | PA-MPJPE |", "|---|---|---:|---:|"]
    for of, tried in report["tried"].items():
        lines += [f"| {of} | {t['ranges']} | {len(t['in_float'])} | {t['pa_mpjpe']} |" for t in tried]
    return "\n".join(lines)
