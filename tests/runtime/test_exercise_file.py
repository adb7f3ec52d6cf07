"""`handcoach exercise`: what therapists are shown, and what a signature is worth."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny.onnx_parts import join, part, parts_of, with_meta

from handcoach import cli, exercise_file, model, onnx_file, places, signature
from handcoach.errors import HandCoachError, ModelError
from handcoach.exercise import Exercise


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("HANDCOACH_HOME", str(folder))
    return folder


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tiny_shipped: Path) -> Path:
    monkeypatch.setattr(model, "models_dir", lambda: tiny_shipped)
    return tiny_shipped


@pytest.fixture
def file(tmp_path: Path, tiny_exercise: Path) -> Path:
    return Path(shutil.copy(tiny_exercise, tmp_path / "mine.onnx"))


@pytest.fixture
def signed(file: Path) -> Path:
    signature.make_key()
    exercise_file.sign(file)
    return file


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = cli.main(["exercise", *map(str, args)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    code, out, err = run(capsys, *args)
    assert code == 2 and out == "" and err.count("\n") == 1, (code, out, err)
    return err


# --- Signing ---


def test_a_signature_is_found_and_says_who(signed: Path, tiny_exercise: Path) -> None:
    found = model.read(signed, "exercise")
    assert found.signed_by == signature.own_fingerprint() and len(found.signed_by) == 39
    assert found.meta == model.read(tiny_exercise).meta and model.read(tiny_exercise).signed_by == ""


def test_what_is_signed(signed: Path, tiny_exercise: Path) -> None:
    """As the docstring of signature.py says: every byte but the entry, wherever the entry stands."""
    bare, digest = onnx_file.unsigned(signed.read_bytes())
    assert bare == tiny_exercise.read_bytes() == onnx_file.unsigned(bare)[0]
    entry = [p for p in parts_of(signed.read_bytes()) if p[0] == 14 and b"handcoach-signature" in p[1]]
    assert len(entry) == 1
    moved = join(entry) + bare
    assert model.parse(moved, signed).signed_by == signature.own_fingerprint()
    assert onnx_file.unsigned(moved) == (bare, digest)

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    fields = json.loads(dict(parts_of(entry[0][1]))[2])
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields["key"]))
    key.verify(bytes.fromhex(fields["signature"]), b"HandCoach model file, signature 1\n" + digest)


def test_signing_again_replaces(signed: Path) -> None:
    first = signed.read_bytes()
    exercise_file.sign(signed)
    assert signed.read_bytes() == first  # Ed25519 signs without chance


def test_a_link_is_signed_where_it_points(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.onnx"
    try:
        link.symlink_to(file)
    except OSError:
        pytest.skip("links need a right that this user does not have")
    signature.make_key()
    exercise_file.sign(link)
    assert link.is_symlink() and model.read(file, "exercise").signed_by


def test_every_changed_byte_is_noticed(signed: Path) -> None:
    data = bytearray(signed.read_bytes())
    for at in [*range(0, len(data), 97), *range(len(data) - 250, len(data), 7)]:
        data[at] ^= 0x20
        try:
            found = model.parse(bytes(data), signed, "exercise")
        except ModelError:
            pass
        else:  # only what no longer is the signature's entry, or spells the same hex in capitals
            assert found.signed_by in ("", signature.own_fingerprint()) and at > len(data) - 270
        data[at] ^= 0x20


def test_changed_words_are_refused_everywhere(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(meta: dict) -> None:
        meta["messages"]["open"]["en"] = "Press harder."

    parts = parts_of(signed.read_bytes())
    index = next(i for i, p in enumerate(parts) if p[0] == 14 and b"handcoach-signature" not in p[1])
    rest = with_meta(join([parts[index]]), change)
    signed.write_bytes(join(parts[:index]) + rest + join(parts[index + 1 :]))
    for command in ("show", "check", "verify", "sign"):
        assert "changed after it was signed" in refused(capsys, command, signed)
    assert cli.main(["assess", "nowhere", "--exercise", str(signed)]) == 2
    assert cli.main(["run", "--exercise", str(signed)]) == 2
    assert capsys.readouterr().err.count("changed after it was signed") == 2


def test_anothers_key(signed: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever changes a file can sign it anew: the fingerprint tells."""
    mine = signature.own_fingerprint()
    assert mine in run(capsys, "verify", signed, "--by", mine.upper().replace("-", " "))[1]
    signature.key_file().unlink()
    assert "no key yet" in refused(capsys, "sign", signed)
    signature.make_key()
    theirs = exercise_file.sign(signed)
    assert theirs != mine and theirs in refused(capsys, "verify", signed, "--by", mine)


def test_not_signed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not signed" in refused(capsys, "verify", file)
    assert "signature     not signed" in run(capsys, "show", file)[1]
    assert "signature     part of HandCoach" in run(capsys, "show", "finger-stretch")[1]
    assert "comes with HandCoach" in refused(capsys, "verify", "finger-stretch")


@pytest.mark.parametrize("entry", ["", "[]", "3", "{}", "[" * 100_000])
def test_a_signature_that_is_none(file: Path, entry: str) -> None:
    data = file.read_bytes() + part(14, part(1, signature.METADATA_KEY) + part(2, entry))
    with pytest.raises(ModelError, match="cannot read"):
        model.parse(data, file)


@pytest.mark.parametrize(
    "change",
    [{"algorithm": "rsa"}, {"key": 3}, {"key": "zz" * 32}, {"key": "00" * 33}, {"signature": "00" * 63}],
)
def test_a_signature_that_is_none_in_one_thing_alone(signed: Path, change: dict) -> None:
    bare, digest = onnx_file.unsigned(signed.read_bytes())
    entry = json.loads(signature.sign(digest))
    assert model.parse(onnx_file.with_signature(bare, json.dumps(entry)), signed).signed_by
    with pytest.raises(ModelError, match="cannot read"):
        model.parse(onnx_file.with_signature(bare, json.dumps(entry | change)), signed)


def test_what_is_changed_while_it_is_signed_is_not_signed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever signs has looked at what it was before."""
    read = model.read

    def late(path: Path, kind: str | None = None) -> model.ModelFile:
        found = read(path, kind)
        path.write_bytes(with_meta(path.read_bytes(), lambda meta: meta.update(hold_s=99)))
        return found

    signature.make_key()
    monkeypatch.setattr(model, "read", late)
    with pytest.raises(ModelError, match="changed since it was checked"):
        exercise_file.sign(file)
    assert read(file).signed_by == ""


def test_two_signatures(signed: Path) -> None:
    data = signed.read_bytes()
    entry = next(p for p in parts_of(data) if p[0] == 14 and b"handcoach-signature" in p[1])
    with pytest.raises(ModelError, match="twice"):
        model.parse(data + join([entry]), signed)


def test_the_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "key")
    assert code == 0 and out.strip() == signature.own_fingerprint() and "keep a copy" in err
    path = signature.key_file()
    assert path.parent == home and sorted(home.iterdir()) == [path]
    assert run(capsys, "key") == (0, out, "")
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        assert "chmod 600" in refused(capsys, "key")
        path.chmod(0o600)
    path.write_text("nonsense")
    assert "cannot be read" in refused(capsys, "key")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import x25519

    another_kind = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(another_kind)
    assert "cannot be read" in refused(capsys, "key")


def test_a_key_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path / "file" / "below"))
    assert "cannot be written" in refused(capsys, "key")


def test_of_two_keys_that_are_made_at_once_the_first_one_stays(home: Path, monkeypatch) -> None:
    """Its fingerprint may have been told to patients."""
    assert signature.make_key()
    first = signature.own_fingerprint()
    with monkeypatch.context() as late:
        late.setattr(Path, "exists", lambda path: False)  # it was not there when this one looked
        assert not signature.make_key()
    assert signature.own_fingerprint() == first and [path.name for path in home.iterdir()] == [
        signature.key_file().name
    ]


def test_a_file_is_not_replaced_where_a_disk_has_no_links(tmp_path: Path, monkeypatch) -> None:
    def none(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(places.os, "link", none)
    places.save(tmp_path / "a", b"1", replace=False)
    with pytest.raises(FileExistsError):
        places.save(tmp_path / "a", b"2", replace=False)
    assert (tmp_path / "a").read_bytes() == b"1" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_disk_without_permissions_gets_no_key(home: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(signature, "_open_to_others", lambda path: True)
    assert "HANDCOACH_HOME" in refused(capsys, "key")
    assert not signature.key_file().exists()


def test_without_cryptography(signed: Path, monkeypatch: pytest.MonkeyPatch, tiny_exercise: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ModelError, match="pip install cryptography") as caught:
        model.read(signed)
    assert str(caught.value).startswith(f"{signed} is signed, but")
    with pytest.raises(HandCoachError, match="pip install cryptography"):
        signature.own_fingerprint()
    assert model.read(tiny_exercise).signed_by == ""  # what is not signed runs as before


def test_a_failure_leaves_the_file_whole(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signature.make_key()
    before = file.read_bytes()

    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left" in refused(capsys, "sign", file)
    assert file.read_bytes() == before and list(file.parent.glob(".*")) == []


def test_only_an_exercise_is_signed(
    tiny_finder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signature.make_key()
    path = Path(shutil.copy(tiny_finder, tmp_path / "f.onnx"))
    assert "kind finder" in refused(capsys, "sign", path)
    assert path.read_bytes() == tiny_finder.read_bytes()


# --- list, show, check ---


def test_list(shipped: Path, signed: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = places.exercises_folder()
    own.mkdir(parents=True)
    shutil.copy(signed, own / "mine.onnx")
    (own / "broken.onnx").write_bytes(b"no")
    code, out, err = run(capsys, "list", "--lang", "da")
    lines = out.splitlines()
    assert code == 0 and err == "" and lines[0] == "finger-stretch  Lille stræk  (shipped)"
    assert lines[1].startswith("broken") and "REFUSED" in lines[1]
    assert lines[2].startswith("mine") and signature.own_fingerprint() in lines[2]
    rows = [json.loads(line) for line in run(capsys, "list", "--json")[1].splitlines()]
    assert [(row["known_as"], row["shipped"], row["problem"] is None) for row in rows] == [
        ("finger-stretch", True, True), ("broken", False, False), ("mine", False, True),
    ]  # fmt: skip
    # By name, as the shipped ones are.
    assert model.find("mine", "exercise") == own / "mine.onnx"
    assert run(capsys, "show", "mine")[0] == 0
    with pytest.raises(ModelError, match="finger-stretch, broken, mine"):
        model.find("unknown", "exercise")


def test_an_own_exercise_is_signed_by_its_name_and_a_shipped_one_never(
    shipped: Path, file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signature.make_key()
    own = places.exercises_folder()
    own.mkdir(parents=True)
    for name in ("mine", "finger-stretch"):
        shutil.copy(file, own / f"{name}.onnx")
    assert run(capsys, "sign", "mine")[0] == 0
    assert model.read(own / "mine.onnx").signed_by
    # One that is named like a shipped one is run and signed by its path; the list says so.
    assert "by this path" in run(capsys, "list")[1].splitlines()[1]
    run(capsys, "sign", "finger-stretch")
    assert not model.read(shipped / "exercises" / "finger-stretch.onnx").signed_by
    refused(capsys, "sign", "nobody")


def test_a_fingerprint_that_was_cut_short_is_no_other_key(
    signed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = signature.own_fingerprint()
    assert "12 of a fingerprint's 32 digits" in refused(capsys, "verify", signed, "--by", fingerprint[:14])
    assert "another key" in refused(capsys, "verify", signed, "--by", fingerprint[::-1])


@pytest.mark.parametrize("lang", ["da-DK", "da_DK"])
def test_a_regions_language_is_that_of_its_base(
    shipped: Path, file: Path, lang: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "list", "--lang", lang)[1].startswith("finger-stretch  Lille stræk  (shipped)")
    shown = run(capsys, "show", file, "--lang", lang)[1]
    assert shown.startswith("Lille stræk") and "Stræk fingrene og hold." in shown


def test_nothing_is_made_unasked(shipped: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["show", "finger-stretch"], ["check", "finger-stretch"]):
        run(capsys, *command)
    assert not home.exists()


def test_show(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", signed, "--lang", "da")
    meta = model.read(signed).meta
    assert code == 0 and err == "" and out.startswith("Lille stræk")
    for text in ("Stræk fingrene og hold.", "either hand", "2, each held 1 s, then 2 s", "HandCoach tests",
                 "tiny-landmarks", signature.own_fingerprint(), "da, en"):  # fmt: skip
        assert text in out, text
    for label in meta["labels"]:
        assert label in out and meta["colours"][label] in out
        assert all(text in out for text in meta["messages"][label].values())
    fields = json.loads(run(capsys, "show", signed, "--json")[1])
    assert fields["signed_by"] == signature.own_fingerprint() and fields["reference"] == meta["reference"]


def test_show_says_how_strict_it_is_and_what_counts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(**changes: object) -> dict[str, list[str]]:
        """The lines of the description, by what they are about."""
        file.write_bytes(with_meta(good, lambda meta: meta.update(changes)))
        rows: dict[str, list[str]] = {}
        for line in run(capsys, "show", file)[1].splitlines():
            rows.setdefault(line[:14].strip(), []).append(line[14:])
        return rows

    good = file.read_bytes()
    usual = shown()
    assert usual["orientation"] == ["does not count"] and usual["corrects"] == ["at once"]
    assert usual["session"] == ["ends after 15 minutes"] and "thumb" in usual["fingers"][0]
    tolerance = {"green": 0.15, "red": 0.6, "praise": 1.6, "widest": 1.5}
    other = shown(tolerance=tolerance, kept_axes="xz", speak_s=4, session_s=300, hand="left",
                  fingers=["index", "ring"], unsure={"max_distance": 2, "min_margin": 0})  # fmt: skip
    assert other["orientation"] == ["counts about x, z"] and other["corrects"] == ["every 4 s at most"]
    assert other["session"] == ["ends after 5 minutes"] and other["fingers"] == ["index, ring"]
    assert other["for"] == ["the left hand"]
    text = " ".join(other[""])
    assert "up to 1.6 times as far away as the next one and up to 1.25 times that" in text  # twice at most
    assert "unsure beyond 2 " in text and "unsure beyond 1.5 or below a margin of 0.1 " in " ".join(usual[""])
    assert "times" not in " ".join(usual[""])


def test_picture(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hand.png"
    assert run(capsys, "show", file, "--picture", out)[0] == 0
    image = cv2.imread(str(out))
    assert image.shape == (*exercise_file.PICTURE, 3) and len(np.unique(image)) > 50
    assert "cannot be written" in refused(capsys, "show", file, "--picture", tmp_path / "no" / "x.png")


def checks(path: Path) -> dict[str, str]:
    found = list(exercise_file.check(model.read(path, "exercise"), "mobilenetv2"))
    return {level: " ".join(c.text for c in found if c.level == level) for level in ("ok", "warn", "fail")}


def test_check(shipped: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checks(file)
    assert found["fail"] == "" and "kept aside" in found["warn"]  # the tiny one states no quality
    assert run(capsys, "check", file)[0] == 0


def test_check_finds_what_the_file_does_not_keep(
    shipped: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def changed(**changes: object) -> dict[str, str]:
        file.write_bytes(with_meta(good, lambda meta: meta.update(changes)))
        return checks(file)

    good = file.read_bytes()
    meta = model.read(file).meta
    assert "landmark model other-model" in changed(landmark_model="other-model")["warn"]
    assert "70.0%" in changed(quality={"accuracy_held_out": 0.7})["warn"]
    assert "1.0e-02" in changed(parity={"max_abs": 0.01, "against": "scikit-learn"})["fail"]
    # The clusters' labels exchanged: the teacher's own hand is no longer praised.
    other = {"open": "fist", "fist": "open", "almost": "almost"}
    found = changed(clusters=[other[label] for label in meta["clusters"]])
    assert "judges its own reference hand fist" in found["fail"]
    code, _, err = run(capsys, "check", file)
    assert code == 1 and "fail" in err


def test_check_finds_a_graph_that_computes_something_else(shipped: Path, file: Path) -> None:
    """Sums in place of differences: names and shapes are right, numbers are not."""
    data = file.read_bytes()
    file.write_bytes(data.replace(b"\x22\x03Sub", b"\x22\x03Add"))  # the nodes' op_type
    assert file.read_bytes() != data
    assert "something else" in checks(file)["fail"] or "no numbers" in checks(file)["fail"]


def test_another_landmark_model_is_said(
    shipped: Path, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import handcoach.ui.app

    monkeypatch.setattr(handcoach.ui.app, "run_window", lambda *args, **more: 0)
    assert cli.main(["run", "--exercise", str(file)]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "not signed" in out
    file.write_bytes(with_meta(file.read_bytes(), lambda meta: meta.update(landmark_model="other")))
    signature.make_key()
    exercise_file.sign(file)
    assert cli.main(["run", "--exercise", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "made with the landmark model other" in err and signature.own_fingerprint() in out


def test_the_window_shows_who_signed_apart_from_what_the_file_says(signed: Path) -> None:
    """A file's own texts may imitate a signature."""
    from handcoach.exercise import Exercise
    from handcoach.texts import Texts
    from handcoach.ui.presenter import Presenter

    bare, _ = onnx_file.unsigned(signed.read_bytes())
    forged = signed.with_name("forged.onnx")
    claim = "Hold. Signed: 1a2b-3c4d."
    forged.write_bytes(
        with_meta(bare, lambda meta: meta.update(author=claim, trained_on=f"x\nsignature {claim}"))
    )
    for lang in ("en", "da"):
        presenter, texts = Presenter(Texts(lang)), Texts(lang)
        maker = presenter._maker(Exercise(model.read(signed, "exercise")))
        assert maker.startswith(texts("signed", by=signature.own_fingerprint()))
        maker = presenter._maker(Exercise(model.read(forged, "exercise")))
        assert maker.startswith(texts("not_signed")) and texts("made_by", author=claim) in maker
        assert presenter._maker(Exercise(model.read(model.find("finger-stretch", "exercise")))) == ""
    shown = exercise_file.describe(model.read(forged, "exercise"), "en").splitlines()
    assert [line for line in shown if line.startswith("signature")] == ["signature     not signed"]


# --- Where things lie ---


def test_user_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HANDCOACH_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("APPDATA", str(tmp_path / "roaming"))
    for platform, folder in (("linux", ".local/share/handcoach"), ("win32", "roaming/HandCoach"),
                             ("darwin", "Library/Application Support/HandCoach")):  # fmt: skip
        monkeypatch.setattr(sys, "platform", platform)
        assert places.user_folder() == tmp_path / folder


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HANDCOACH_HOME", "XDG_DATA_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", none)
    assert cli.main(["exercise", "list"]) == 2
    assert "set HANDCOACH_HOME" in capsys.readouterr().err
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        assert places.user_folder() == tmp_path / "handcoach"


def test_what_macos_leaves_on_a_stick_is_no_exercise(home: Path) -> None:
    places.exercises_folder().mkdir(parents=True)
    for name in ("stretch.onnx", "._stretch.onnx"):
        (places.exercises_folder() / name).write_bytes(b"")
    assert [path.name for path in model.own_exercises()] == ["stretch.onnx"]


def test_a_graph_that_gives_no_numbers_fails_the_check(monkeypatch, tiny_exercise):
    exercise = Exercise(model.read(tiny_exercise, "exercise"))
    run = exercise.run

    def nothing(hands):
        return {k: v * np.float32("nan") if v.dtype.kind == "f" else v for k, v in run(hands).items()}

    monkeypatch.setattr(exercise, "run", nothing)
    assert exercise_file._graph_check(exercise).level == "fail"
