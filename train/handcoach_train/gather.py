"""Photographs of real hands from local clones of public repositories: `handcoach-train gather`.

The files are not committed; `train/data_sources.toml` says where each comes from and by what right, and
this turns the clones into OUT/<source>/<group>/<name>.jpg with an index. A group is a person or a recording:
what a split must not cut.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from handcoach import places
from handcoach_train.errors import TrainError

LICENCES = ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "Public Domain")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
SMALLEST = 80  # px: below it there are no fingers to see
LARGEST = 1280  # px: larger pictures are made smaller, a network sees 224
REFUSE = 8  # of 64 bits: as near to an evaluation picture is a copy of it
SAME = 2  # of 64 bits: as near to a picture of another source is the same picture
# What a source that is `of` another one need not say again.
OF_THE_OTHER = (
    "repository",
    "commit",
    "licence",
    "licence_file",
    "licence_says",
    "checked",
    "group",
    "block",
)
VERSION = 1  # of what happens to a picture here: a new one gathers again


@dataclass(frozen=True)
class Source:
    """One `[[source]]` of the TOML file.

    files, skip: glob patterns of paths in the repository; `*` crosses no folder, `**` does.
    group: regular expression whose groups, joined, name the person or recording; without one all are one.
    block: so many consecutive pictures are a group, where nobody knows who is on them.
    once: regular expression; of pictures whose groups agree only the first is taken (augmented copies).
    every: of so many pictures one is looked at; for long bursts.
    thin: of 256 bits, how much a picture must differ from the one kept before it in its folder.
    most: at most so many, evenly spread.
    of: a source before it in the list that shows the same people: its folder takes these, so that no split
        cuts them. What is said of repository, commit, licence, group and block is then that source's.
    """

    name: str
    repository: str
    commit: str
    licence: str
    licence_file: str
    licence_says: str
    files: list[str]
    skip: list[str] = field(default_factory=list)
    group: str = ""
    block: int = 0
    once: str = ""
    every: int = 1
    thin: int = 24
    most: int = 300
    of: str = ""
    # For people; they change nothing.
    checked: str = ""
    people: int = 0
    photographs: int = 0
    notes: str = ""

    def recipe(self, *others: NDArray[np.bool_]) -> str:
        """A name for what is done to this source: another one means gathering again.

        Args:
            others: fingerprints of the pictures that it must not repeat.
        """
        settings = asdict(self)
        for key in ("checked", "people", "photographs", "notes"):
            del settings[key]
        if not self.of:  # what was gathered before there was an `of` stays
            del settings["of"]
        name = hashlib.sha256(json.dumps([VERSION, settings]).encode())
        for bits in others:
            name.update(np.packbits(bits).tobytes() + b"|")
        return name.hexdigest()[:16]


def read_sources(file: Path) -> list[Source]:
    """The sources of a TOML file.

    Raises:
        TrainError: no such file, not TOML, a missing or unknown entry, a licence that is not permissive, a
            source twice, one that the file itself leaves out, or one `of` no source before it.
    """
    try:
        table = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainError(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainError(f"{file} is not TOML: {error}.") from error
    left_out = {str(entry.get("repository", "")).lower() for entry in table.get("left_out", [])}
    if "" in left_out:
        raise TrainError(f"{file}: an entry of left_out lacks its repository.")
    sources: list[Source] = []
    for entry in table.get("source", []):
        if of := entry.get("of"):
            whose = next((source for source in sources if source.name == of and not source.of), None)
            if whose is None:
                raise TrainError(
                    f"{file}: source {entry.get('name', '?')} is of {of}, which is no source before it."
                )
            entry = {key: getattr(whose, key) for key in OF_THE_OTHER} | entry
        try:
            source = Source(**entry)
        except TypeError as error:
            what = str(error).split("__init__() ")[-1]
            raise TrainError(f"{file}: source {entry.get('name', '?')}: {what}.") from error
        if not all(isinstance(one, list) for one in (source.files, source.skip)):
            raise TrainError(f"{file}: source {source.name}: files and skip are lists of patterns.")
        if source.licence not in LICENCES:
            raise TrainError(
                f"{file}: source {source.name} is under {source.licence}; allowed: {', '.join(LICENCES)}."
            )
        if source.repository.lower() in left_out:
            raise TrainError(f"{file}: {source.repository} is a source and left out: remove one of the two.")
        sources.append(source)
    if not sources:
        raise TrainError(f"{file} names no source: it needs at least one [[source]].")
    twice = [name for name, n in Counter(s.name for s in sources).items() if n > 1]
    if twice:
        raise TrainError(f"{file} has source {twice[0]} twice: give one another name.")
    return sources


def fingerprint(image: NDArray[np.uint8], side: int = 8) -> NDArray[np.bool_]:
    """Perceptual hash: the signs, about their median, of the lowest side x side cosine coefficients.

    Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), section 3.2.

    Args:
        image: grey picture.

    Returns:
        (side * side,) bits; near pictures differ in few.
    """
    small = cv2.resize(image, (4 * side, 4 * side), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:side, :side].ravel()
    return np.asarray(low > np.median(low[1:]))


def fingerprints(folders: list[Path]) -> NDArray[np.bool_]:
    """Fingerprints of every picture in folders, as it is and mirrored.

    Returns:
        (2 n, 64) bits.

    Raises:
        TrainError: a folder without pictures.
    """
    bits = []
    for folder in folders:
        files = sorted(
            p for p in Path(folder).rglob("*") if p.suffix.lower() in (*PICTURES, ".webp", ".tif", ".tiff")
        )
        if not files:
            raise TrainError(f"{folder} holds no pictures to refuse: give the folder of evaluation pictures.")
        for file in files:
            grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
            if grey is None:
                raise TrainError(f"{file} cannot be read, so that what looks like it could not be refused.")
            mirrored = np.ascontiguousarray(grey[:, ::-1], np.uint8)
            bits += [fingerprint(np.asarray(grey, np.uint8)), fingerprint(mirrored)]
    return np.array(bits, bool).reshape(-1, 64)


def clone_of(source: Source, folder: Path) -> Path:
    """The clone of a source in a folder of clones: owner+name/repo, owner+name, owner/name or name.

    Raises:
        TrainError: no clone, or one without the commit.
    """
    owner, _, name = source.repository.partition("/")
    places = [f"{owner}+{name}/repo", f"{owner}+{name}", f"{owner}/{name}", name, f"{name}.git"]
    for place in (Path(folder) / p for p in places):
        if (place / ".git").exists() or (place / "objects").is_dir():
            if _git(place, "cat-file", "-e", f"{source.commit}^{{commit}}") is None:
                raise TrainError(
                    f"{place} lacks commit {source.commit[:12]} of {source.repository}: fetch it."
                )
            return place
    raise TrainError(f"{folder} has no clone of {source.repository}: git clone it there as {owner}+{name}.")


def gather(
    sources: list[Source], clones: Path, out: Path, refuse: list[Path], progress: bool = True,
    listed: set[str] | None = None,
) -> dict[str, Counter]:  # fmt: skip
    """Writes the photographs of these sources and OUT/index.json; a source that is there already stays.

    Args:
        listed: names of all sources of the list, where only some are gathered: photographs of a source
            that was struck from the list leave the folder.

    Returns:
        per source: pictures found, and how many were kept or left out, and why.

    Raises:
        TrainError: a clone, commit or licence is missing or not as the source says; a folder of evaluation
            pictures without pictures; the index is not one.
    """
    from tqdm import tqdm

    evaluation = fingerprints(refuse)
    index_file = Path(out) / "index.json"
    index = _read_index(index_file)
    # First every right, then the work: a licence that changed is told at once.
    places = {source.name: clone_of(source, clones) for source in sources}
    for source in sources:
        _check_licence(source, places[source.name])
    counts: dict[str, Counter] = {}
    seen = np.zeros((0, 64), bool)
    for source in sources:
        recipe = source.recipe(evaluation, seen)
        was = index["sources"].get(source.name, {})
        mine = {n: p for n, p in index["photos"].items() if p["source"] == source.name}
        there = sum((Path(out) / n).is_file() for n in mine)
        if was.get("recipe") == recipe and there == was["counts"].get("kept", 0):
            counts[source.name] = Counter(was["counts"])
        else:
            found = _candidates(source, places[source.name])
            bar = tqdm(total=len(found), desc=source.name[:30], unit="picture", disable=not progress)
            kept, count = _choose(source, places[source.name], found, evaluation, seen, bar)
            bar.close()
            photos = _write(source, places[source.name], kept, Path(out))
            for name in set(mine) - set(photos):
                (Path(out) / name).unlink(missing_ok=True)
                del index["photos"][name]
            index["photos"].update(photos)
            index["sources"][source.name] = {
                "repository": source.repository,
                "commit": source.commit,
                "licence": source.licence,
                "recipe": recipe,
                "counts": dict(count),
            }
            counts[source.name] = count
            _write_whole(index_file, json.dumps(index, indent=1, sort_keys=True).encode())
        # By name: the order in which the index lists them must not make another recipe of it.
        hashes = [p["hash"] for _, p in sorted(index["photos"].items()) if p["source"] == source.name]
        bits = np.array([list(bytes.fromhex(h)) for h in hashes], np.uint8).reshape(-1, 8)
        seen = np.concatenate([seen, np.unpackbits(bits, axis=1).astype(bool)])
    names = listed or {source.name for source in sources}
    for name in [n for n, p in index["photos"].items() if p["source"] not in names]:
        (Path(out) / name).unlink(missing_ok=True)
        del index["photos"][name]
    if set(index["sources"]) - names:
        index["sources"] = {n: s for n, s in index["sources"].items() if n in names}
        _write_whole(index_file, json.dumps(index, indent=1, sort_keys=True).encode())
    return counts


@dataclass
class _Picture:
    """A picture that may be taken: its path, blob and group; the hash comes when it was looked at."""

    path: str
    blob: str
    group: str
    hash: NDArray[np.bool_] | None = None


def _candidates(source: Source, clone: Path) -> list[_Picture]:
    """The source's pictures by its patterns, in the order in which they were taken, as far as names tell.

    Raises:
        TrainError: no pattern matches.
    """
    listing = _git(clone, "ls-tree", "-r", "-z", source.commit) or b""
    wanted = [_glob(p) for p in source.files]
    skipped = [_glob(p) for p in source.skip]
    pictures = []
    for line in listing.decode("utf-8", "surrogateescape").split("\0"):
        if not line:
            continue
        what, path = line.split("\t", 1)
        if PurePosixPath(path).suffix.lower() not in PICTURES:
            continue
        if any(p.fullmatch(path) for p in wanted) and not any(p.fullmatch(path) for p in skipped):
            pictures.append(_Picture(path, what.split()[2], ""))
    if not pictures:
        raise TrainError(
            f"{source.repository} has no picture that matches {source.files}: mend source {source.name}."
        )
    pictures.sort(key=lambda p: _natural(p.path))
    once: set[str] = set()
    result = []
    for picture in pictures:
        if source.once:
            key = _matched(source.once, picture.path)
            if key in once:
                continue
            once.add(key)
        result.append(picture)
    result = result[:: source.every]
    for n, picture in enumerate(result):
        group = _matched(source.group, picture.path) if source.group else ""
        if source.block:
            group += f"-{n // source.block}"
        picture.group = _safe(group) or "all"
    return result


def _choose(
    source: Source,
    clone: Path,
    pictures: list[_Picture],
    evaluation: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    bar,
) -> tuple[list[_Picture], Counter]:
    """Which pictures are taken, and what became of all."""
    count = Counter(found=len(pictures))
    kept: list[_Picture] = []
    before: dict[str, NDArray[np.bool_]] = {}  # folder: fine fingerprint of the picture kept last
    shas: set[str] = set()
    for picture, content in zip(pictures, _blobs(clone, [p.blob for p in pictures]), strict=True):
        bar.update()
        grey, why = _look(content)
        if grey is None:
            count[why] += 1
            continue
        folder = str(PurePosixPath(picture.path).parent)
        fine = fingerprint(grey, 16)
        coarse = fingerprint(grey)
        if picture.blob in shas or (folder in before and (before[folder] != fine).sum() < source.thin):
            count["too like the one before"] += 1
        elif len(evaluation) and (evaluation != coarse).sum(1).min() <= REFUSE:
            count["refused: like an evaluation picture"] += 1
        elif len(seen) and (seen != coarse).sum(1).min() <= SAME:
            count["in another source"] += 1
        else:
            before[folder] = fine
            shas.add(picture.blob)
            picture.hash = coarse
            kept.append(picture)
    if len(kept) > source.most:
        count["more than asked for"] = len(kept) - source.most
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, source.most).round().astype(int)]
    count["kept"] = len(kept)
    return kept, count


def _look(content: bytes | None) -> tuple[NDArray[np.uint8] | None, str]:
    """A small grey copy of a picture, or why it is left out."""
    if content is None:
        return None, "not in the clone"
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
    except (UnidentifiedImageError, OSError, ValueError):
        return None, "broken"
    if min(width, height) < SMALLEST:
        return None, "too small"
    reduced = cv2.IMREAD_REDUCED_GRAYSCALE_4 if min(width, height) >= 400 else cv2.IMREAD_GRAYSCALE
    grey = cv2.imdecode(np.frombuffer(content, np.uint8), reduced)
    if grey is None:
        return None, "broken"
    if ((grey < 12) | (grey > 243)).mean() > 0.97:
        return None, "a silhouette or empty"
    return np.asarray(grey, np.uint8), ""


def _write(source: Source, clone: Path, pictures: list[_Picture], out: Path) -> dict[str, dict]:
    """Writes the pictures; index entries by name under OUT."""
    photos = {}
    for picture, content in zip(pictures, _blobs(clone, [p.blob for p in pictures]), strict=True):
        assert content is not None and picture.hash is not None
        content = _jpeg(content)
        sha = hashlib.sha256(content).hexdigest()
        stem = _safe(str(PurePosixPath(picture.path).with_suffix("")))[-60:]
        name = f"{source.of or source.name}/{picture.group}/{stem}-{sha[:8]}.jpg"
        if not (out / name).is_file():
            _write_whole(out / name, content)
        photos[name] = {
            "source": source.name,
            "group": picture.group,
            "path": picture.path,
            "licence": source.licence,
            "sha256": sha,
            "hash": np.packbits(picture.hash).tobytes().hex(),
        }
    return photos


def _jpeg(content: bytes) -> bytes:
    """The picture as an upright JPEG of at most LARGEST; one that is so already stays as it is."""
    with Image.open(io.BytesIO(content)) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        if image.format == "JPEG" and upright and max(image.size) <= LARGEST:
            return content
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None  # it was looked at before
    shrink = LARGEST / max(pixels.shape[:2])
    if shrink < 1:
        pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _check_licence(source: Source, clone: Path) -> None:
    """
    Raises:
        TrainError: the licence file is missing at the commit, or does not say what the source claims.
    """
    text = _git(clone, "cat-file", "blob", f"{source.commit}:{source.licence_file}")
    if text is None:
        raise TrainError(
            f"{source.repository} has no {source.licence_file} at {source.commit[:12]}: leave it out."
        )
    words = " ".join(text.decode("utf-8", "replace").split()).lower()
    if " ".join(source.licence_says.split()).lower() not in words:
        raise TrainError(
            f"{source.licence_file} of {source.repository} does not say {source.licence_says!r}: "
            "check its licence."
        )


def _git(clone: Path, *words: str) -> bytes | None:
    """What a git command prints; None where it fails. Nothing is fetched for it."""
    done = subprocess.run(
        ["git", "-C", str(clone), *words], capture_output=True, env=_environment(), check=False
    )
    return done.stdout if done.returncode == 0 else None


def _blobs(clone: Path, names: list[str]) -> Iterator[bytes | None]:
    """The contents of blobs, in order; None for one that the clone lacks."""
    command = ["git", "-C", str(clone), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, env=_environment()) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        for name in names:
            process.stdin.write(f"{name}\n".encode())
            process.stdin.flush()
            head = process.stdout.readline().split()
            if len(head) != 3:
                yield None
                if not head:  # git died: the rest is missing as well
                    return
                continue
            content = process.stdout.read(int(head[2]))
            process.stdout.read(1)
            yield content


def _environment() -> dict[str, str]:
    return {**os.environ, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _glob(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/?|\*|\?)", pattern)
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(special.get(p, re.escape(p)) for p in parts))


def _matched(expression: str, path: str) -> str:
    found = re.search(expression, path)
    if not found:
        return ""
    return "-".join(g or "" for g in found.groups()) or found.group(0)


def _natural(path: str) -> list[tuple[int, int, str]]:
    """A key that sorts 2.jpg before 10.jpg."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", path)]


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _read_index(file: Path) -> dict:
    if not file.is_file():
        return {"format": 1, "sources": {}, "photos": {}}
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainError(f"{file} is not an index of photographs: remove it and gather again.") from error
    if not isinstance(index, dict) or index.get("format") != 1:
        raise TrainError(f"{file} is not an index of photographs: remove it and gather again.")
    return index


def _write_whole(file: Path, content: bytes) -> None:
    """Writes beside and renames: nobody ever sees half a file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        places.save(file, content)
    except OSError as error:
        raise TrainError(f"{file} cannot be written: {error.strerror}.") from error
