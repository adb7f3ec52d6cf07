"""What is no HandCoach model is refused with one sentence, before any session exists."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny.onnx_parts import join, node, part, parts_of, with_graph, with_meta

from handcoach import contract, model, onnx_file, session
from handcoach.defaults import EXERCISE, FINDER, LANDMARKS
from handcoach.errors import HandCoachError, ModelError
from handcoach.session import Session


@pytest.fixture
def exercise(tiny_exercise: Path) -> bytes:
    return tiny_exercise.read_bytes()


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Reading makes no session; only tests marked by the fixture `sessions` may."""
    if "sessions" not in request.fixturenames:
        monkeypatch.setattr(session, "_onnxruntime", lambda: pytest.fail("a session was about to be made"))


@pytest.fixture
def sessions() -> None:
    pass


def refused(data: bytes, kind: str | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        model.parse(data, Path("x.onnx"), kind)
    text = str(caught.value)
    assert isinstance(caught.value, HandCoachError)
    assert text.startswith("x.onnx ") and text.endswith(".") and "\n" not in text and len(text) < 300
    return text


@pytest.mark.parametrize("kind", contract.KINDS)
def test_tiny_models_fit(kind: str, request: pytest.FixtureRequest) -> None:
    file = model.read(request.getfixturevalue(f"tiny_{kind}"), kind)
    assert file.kind == kind and file.name == f"tiny-{kind}"
    wanted_input, wanted_outputs = contract.tensors(kind, file.meta)
    assert file.input == wanted_input and file.outputs == wanted_outputs
    assert [file.input.name] == file.meta["inputs"]
    assert [tensor.name for tensor in file.outputs] == file.meta["outputs"]


def test_rewriting_keeps_the_model(exercise: bytes) -> None:
    # The helpers above change nothing by themselves, so what is refused below is refused for its change.
    model.parse(with_graph(with_meta(exercise, lambda m: None), lambda g: None), Path("x.onnx"), "exercise")


def test_missing_folder_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no model file"):
        model.read(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        model.read(tmp_path)


def test_every_truncation_is_refused(exercise: bytes) -> None:
    for end in [0, 1, 2, *range(3, len(exercise) - 1, 41), len(exercise) - 1]:
        refused(exercise[:end])


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\xff" * 200, b"hello, I am no model\n" * 30, b"\x89PNG\r\n\x1a\n" + bytes(100),
     b"PK\x03\x04" + bytes(500), struct.pack("<64I", *range(64))],
)  # fmt: skip
def test_other_files_are_refused(data: bytes) -> None:
    refused(data)


def test_noise_never_escapes_as_another_error(exercise: bytes) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(exercise)
        for at in rng.integers(0, len(data), 5):
            data[at] = rng.integers(0, 256)
        with contextlib.suppress(ModelError):
            model.parse(bytes(data), Path("x.onnx"))


def test_wrong_kind(exercise: bytes) -> None:
    assert "kind exercise, where one of kind finder is needed" in refused(exercise, "finder")
    assert "unknown kind" in refused(with_meta(exercise, lambda m: m.update(kind="poem")))


def test_wrong_format_version(exercise: bytes) -> None:
    assert "format version 2" in refused(with_meta(exercise, lambda m: m.update(format=2)))
    refused(with_meta(exercise, lambda m: m.update(format=True)))
    refused(with_meta(exercise, lambda m: m.pop("format")))


@pytest.mark.parametrize(
    "change",
    [
        {"crop": {"margin": 0.5, "roll": True}},
        {"crop": {"margin": 9, "roll": True}},
        {"presence_threshold": 1.5},
    ],
)
def test_a_landmark_model_that_would_be_shown_something_else_is_refused(tiny_landmarks: Path, change) -> None:
    assert "out of range" in refused(with_meta(tiny_landmarks.read_bytes(), lambda m: m.update(change)))


def test_plain_onnx_without_description(exercise: bytes) -> None:
    assert "description" in refused(join([p for p in parts_of(exercise) if p[0] != 14]))


def test_metadata_that_is_no_json_object(exercise: bytes) -> None:
    for text in ("", "[]", "3", "{", '{"format": NaN}', "[" * 100_000):
        meta = (14, part(1, "handcoach") + part(2, text))
        refused(join([meta if p[0] == 14 else p for p in parts_of(exercise)]))


def test_every_missing_key_is_named(tiny_exercise: Path, tiny_finder: Path, tiny_landmarks: Path) -> None:
    for path in (tiny_exercise, tiny_finder, tiny_landmarks):
        data = path.read_bytes()
        kind = model.read(path).kind
        for key in (contract._COMMON | contract._OF_KIND[kind]).keys() - {"format", "kind"}:
            assert key in refused(with_meta(data, lambda m, key=key: m.pop(key)))


EN = {"en": "x"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": ["open"], "clusters": ["open"] * 3}, "two or more"),
        ({"labels": ["open", "open", "fist", "almost"]}, "different names"),
        ({"labels": ["open", "fist", "unsure"], "clusters": ["open", "fist", "unsure"]}, "labels are not"),
        ({"labels": ["open", "fist", ""], "clusters": ["open", "fist", ""]}, "labels are not"),
        ({"labels": [*map(str, range(51))], "clusters": [*map(str, range(51))]}, "labels are not"),
        ({"clusters": ["open", "open", "fist"]}, "every label"),
        ({"clusters": ["open", "almost", "shut"]}, "every label"),
        ({"messages": {}}, "message of 'open'"),
        ({"messages": {"open": {"da": "x"}, "almost": EN, "fist": EN}}, "of 'open' lacks English"),
        ({"messages": {"open": EN, "almost": EN, "fist": EN, "unsure": "x"}}, "of 'unsure'"),
        ({"title": {"en": " "}}, "title is empty"), ({"title": {}}, "title lacks English"),
        ({"instructions": {"en": "x" * 3000}}, "instructions lacks English, is too long"),
        ({"colours": {"open": "green", "almost": "#000000", "fist": "#000000"}}, "colour of 'open'"),
        ({"reference": [[0, 0, 0]] * 20}, "21 points"), ({"reference": [[0, 0, "1"]] * 21}, "21 points"),
        ({"reference": [[0, 0, 1e9]] * 21}, "21 points"),
        ({"tolerance": {"green": 0.6, "red": 0.2}}, "tolerance is"), ({"tolerance": {}}, "tolerance is"),
        ({"unsure": {}}, "unsure is"), ({"hold_s": "long"}, "hold_s is of the wrong type"),
        ({"unsure": {"max_distance": 1.0, "min_margin": 2.0}}, "unsure is"),
        ({"unsure": {"max_distance": -1.0, "min_margin": 0.1}}, "unsure is"),
        ({"hold_s": -1}, "hold_s is not"), ({"repetitions": 0}, "repetitions is not"),
        ({"repetitions": True}, "repetitions is of the wrong type"), ({"hand": "both"}, "hand is not"),
        ({"inputs": "landmarks"}, "inputs is of the wrong type"), ({"about_thumb": 1}, "about_thumb"),
        ({"fingers": []}, "fingers are"), ({"fingers": ["toe"]}, "fingers are"),
        ({"fingers": [[]]}, "fingers are"), ({"fingers": ["thumb", "thumb"]}, "fingers are"),
        ({"fingers": "thumb"}, "fingers are"),
        ({"kept_axes": "xw"}, "kept_axes is"), ({"kept_axes": "xx"}, "kept_axes is"),
        ({"created": "yesterday"}, "created is no date"), ({"author": "a\nb"}, "author is"),
        ({"messages": {"open": {"en": "x", "../da": "x"}, "almost": EN, "fist": EN}}, "unknown language"),
        ({"messages": dict.fromkeys(("open", "almost", "fist", "shut"), EN)}, "no label 'shut'"),
        ({"colours": dict.fromkeys(("open", "almost", "fist", "x"), "#000000")}, "no label"),
        ({"quality": {"accuracy_held_out": 1.5}}, "quality.accuracy_held_out"), ({"parity": {}}, "parity"),
        ({"reference": [[0.0, 0.0, 0.0]] * 21}, "without a palm"),
    ],
)  # fmt: skip
def test_metadata_out_of_range(exercise: bytes, change: dict, says: str) -> None:
    """Each for its own reason: what is wrong in two ways would be refused without the check that is meant."""
    text = refused(with_meta(exercise, lambda m: m.update(change)))
    assert "metadata" in text and says in text


def test_unknown_operators(exercise: bytes) -> None:
    for operator in ("Loop", "If", "Scan", "SequenceMap", "RandomNormal", "StringSplit", "MadeUp"):
        assert operator in refused(with_graph(exercise, lambda g, o=operator: g.insert(0, node(o))))
    for domain in ("com.microsoft", "evil", "ai.onnx.ml", "ai.onnx.training"):
        assert domain in refused(with_graph(exercise, lambda g, d=domain: g.insert(0, node("Add", domain=d))))


def test_a_graph_in_an_attribute(exercise: bytes) -> None:
    graph = part(1, "body") + part(6, b"")
    assert "graph inside" in refused(
        with_graph(exercise, lambda g: g.insert(0, node("Add", attribute=graph)))
    )


def test_external_data(exercise: bytes) -> None:
    outside = part(1, 1) + part(2, 1) + part(8, "w") + part(13, part(1, "location") + part(2, "/etc/passwd"))
    for tensor in (outside + part(14, 1), outside, part(1, 1) + part(2, 1) + part(8, "w") + part(14, 1)):
        assert "another file" in refused(with_graph(exercise, lambda g, t=tensor: g.append((5, t))))
        inside = node("Constant", attribute=part(1, "value") + part(5, tensor))
        assert "another file" in refused(with_graph(exercise, lambda g, n=inside: g.insert(0, n)))


def test_a_tensor_larger_than_its_file(exercise: bytes) -> None:
    huge = part(1, 2**40) + part(1, 2**40) + part(2, 1) + part(8, "w")
    assert "larger than the file" in refused(with_graph(exercise, lambda g: g.append((5, huge))))


def test_functions_sparse_tensors_and_doubled_parts(exercise: bytes) -> None:
    assert "functions" in refused(exercise + part(25, b""))
    assert "training" in refused(exercise + part(20, b""))
    assert "sparse" in refused(with_graph(exercise, lambda g: g.append((15, b""))))
    # Protobuf would merge a second graph into the first, behind the back of whoever checked the first.
    assert "twice" in refused(exercise + part(7, join([node("Loop")])))
    assert "twice" in refused(exercise + part(14, part(1, "handcoach") + part(2, "{}")))


def test_too_large(exercise: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_BYTES", len(exercise) - 1)
    refused(exercise)
    (tmp_path / "big.onnx").write_bytes(exercise)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read before its size was seen"))
    with pytest.raises(ModelError, match="larger than"):
        model.read(tmp_path / "big.onnx")


def test_too_many_parts(exercise: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_FIELDS", 100)
    assert "too many parts" in refused(exercise)


def test_wrong_tensors(exercise: bytes, tiny_landmarks: Path, tiny_finder: Path) -> None:
    # A description that promises other sizes than the graph has.
    assert "shape" in refused(with_meta(tiny_landmarks.read_bytes(), lambda m: m.update(size=96)))
    assert "shape" in refused(with_meta(tiny_finder.read_bytes(), lambda m: m.update(max_hands=3)))
    assert "shape" in refused(with_meta(exercise, lambda m: m["clusters"].append("open")))

    # A graph with another name or type.
    def rename(graph: list) -> None:
        graph[:] = [(n, v.replace(b"distances", b"distancez") if n == 12 else v) for n, v in graph]

    def double(graph: list) -> None:
        graph[:] = [(n, v.replace(b"\x08\x07", b"\x08\x06") if n == 12 else v) for n, v in graph]

    assert "other outputs" in refused(with_graph(exercise, rename))
    assert "int64" in refused(with_graph(exercise, double))
    more = (11, part(1, "more") + part(2, part(1, part(1, 1))))
    assert "other inputs" in refused(with_graph(exercise, lambda g: g.append(more)))


# --- Sessions ---


def test_session_runs_and_says_where(sessions: None, tiny_exercise: Path) -> None:
    session = Session(model.read(tiny_exercise, "exercise"))
    assert session.provider == "CPUExecutionProvider"
    out = session.run(np.random.default_rng(0).normal(size=(2, 21, 3)).astype(np.float32))
    assert {name: value.shape for name, value in out.items()} == {
        "hand_frame": (2, 63), "cluster": (2,), "distances": (2, 3),
    }  # fmt: skip
    with pytest.raises(ValueError, match="float32"):
        session.run(np.zeros((1, 21, 3)))
    with pytest.raises(ValueError):
        session.run(np.zeros((1, 20, 3), np.float32))


def test_session_options(sessions: None, tiny_exercise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ort = session._onnxruntime()
    made = []
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda *a, **k: made.append(a) or real(*a, **k))
    Session(model.read(tiny_exercise), threads=2)
    ((_, options),) = [(a[0], a[1]) for a in made]
    assert options.intra_op_num_threads == 2 and options.inter_op_num_threads == 1
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"


def test_telemetry_is_off(sessions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    calls = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: calls.append(1))
    session._onnxruntime.cache_clear()
    session._onnxruntime()
    assert calls == [1]


def test_a_silent_fallback_is_an_error(
    sessions: None, tiny_exercise: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = session._onnxruntime()
    file = model.read(tiny_exercise)
    with pytest.raises(ModelError, match="not installed"):
        Session(file, provider="NoSuchExecutionProvider")
    # Listed, but its libraries are missing: onnxruntime would quietly take the CPU.
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda d, o, providers: real(d, o, ["CPUExecutionProvider"]))
    with pytest.raises(ModelError, match="does not start here"):
        Session(file, provider="CUDAExecutionProvider")


def test_a_file_that_changed_is_refused(sessions: None, tiny_exercise: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(tiny_exercise.read_bytes())
    file = model.read(path)
    path.write_bytes(path.read_bytes() + part(6, "other"))
    with pytest.raises(ModelError, match="changed"):
        Session(file)


def test_what_onnxruntime_refuses_is_one_sentence(sessions: None, exercise: bytes, tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(
        with_graph(exercise, lambda g: g.insert(0, (1, part(1, "no") + part(2, "y") + part(4, "Abs"))))
    )
    with pytest.raises(ModelError) as caught:
        Session(model.read(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_missing_visual_cpp_runtime_is_named(sessions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "onnxruntime":
                raise ImportError("DLL load failed while importing onnxruntime_pybind11_state")

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    session._onnxruntime.cache_clear()
    with pytest.raises(ModelError, match=r"Visual C\+\+") as caught:
        session._onnxruntime()
    assert caught.value.key == "visual_cpp_missing"


def test_providers_compute(sessions: None) -> None:
    session._onnxruntime.cache_clear()
    assert "CPUExecutionProvider" in session.providers()
    assert "AzureExecutionProvider" not in session.providers()


# --- Shipped models ---


@pytest.fixture
def shipped_tiny(monkeypatch: pytest.MonkeyPatch, tiny_shipped: Path) -> Path:
    (tiny_shipped / "broken.onnx").write_bytes(b"no")
    monkeypatch.setattr(model, "models_dir", lambda: tiny_shipped)
    return tiny_shipped


def test_find_by_name(shipped_tiny: Path) -> None:
    assert model.find("finger-stretch", "exercise") == shipped_tiny / "exercises" / "finger-stretch.onnx"
    assert model.find("mobilenetv2", "landmarks") == shipped_tiny / "mobilenetv2.onnx"
    assert model.shipped("landmarks") == [shipped_tiny / "mobilenetv2.onnx"]
    assert model.shipped("finder") == [shipped_tiny / "finder.onnx"]
    assert [path.stem for path in model.shipped("exercise")] == ["finger-stretch"]
    for finger in ("little", "middle", "index", "ring"):
        shutil.copy(
            shipped_tiny / "exercises/finger-stretch.onnx", shipped_tiny / f"exercises/to-{finger}.onnx"
        )
    stems = [path.stem for path in model.shipped("exercise")]
    assert stems == ["finger-stretch", "to-index", "to-middle", "to-ring", "to-little"]


def test_find_by_path(shipped_tiny: Path, tiny_exercise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model.find(str(tiny_exercise), "exercise") == tiny_exercise
    monkeypatch.chdir(tiny_exercise.parent)
    assert model.find("exercise.onnx", "exercise") == Path("exercise.onnx")


def test_find_unknown_lists_what_there_is(shipped_tiny: Path) -> None:
    for name in ("thumbs", "", "..", "exercises/finger-stretch", "nowhere/x.onnx", "x.onnx"):
        with pytest.raises(ModelError, match="finger-stretch"):
            model.find(name, "exercise")


def test_what_was_likely_meant_is_said(
    shipped_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exercise: bytes
) -> None:
    (tmp_path / "mine.onnx").write_bytes(exercise)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("mine", str(tmp_path / "mine")):
        with pytest.raises(ModelError, match=r"did you mean the file .*mine\.onnx"):
            model.find(name, "exercise")
    with pytest.raises(ModelError, match="is a folder"):
        model.find(str(tmp_path / "folder"), "exercise")


def test_models_dir_of_this_installation() -> None:
    package = Path(model.__file__).resolve().parent
    if os.environ.get("HANDCOACH_WHEEL") == "1":
        assert "site-packages" in package.parts and model.models_dir() == package / "models"
    else:
        assert model.models_dir() in (package / "models", package.parents[1] / "models")
    assert model.models_dir().is_dir()


@pytest.mark.parametrize("layout", ["site-packages/handcoach/models", "models", None])
def test_models_dir_in_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str | None
) -> None:
    package = tmp_path / ("site-packages" if layout and "site" in layout else "runtime") / "handcoach"
    package.mkdir(parents=True)
    monkeypatch.setattr(model, "__file__", str(package / "model.py"))
    if layout is None:
        with pytest.raises(ModelError, match="install"):
            model.models_dir()
        return
    (tmp_path / layout).mkdir(parents=True)
    assert model.models_dir() == (tmp_path / layout).resolve()


def test_every_shipped_model_fits() -> None:
    files = sorted(model.models_dir().rglob("*.onnx"))
    assert {LANDMARKS, FINDER, EXERCISE} <= {path.stem for path in files}
    for path in files:
        file = model.read(path)
        assert path in model.shipped(file.kind)
