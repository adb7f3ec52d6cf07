"""Eight-bit integers that are the same on every processor; variants that are judged before they are kept."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("torchvision")
pytest.importorskip("safetensors")

import onnx
import torch
from tiny import hands
from tiny.hanco import write_frame
from tiny.networks import FINDER, SMALL, add_tiny_backbone

from handcoach import model, pipeline
from handcoach.crop import MARGIN
from handcoach.errors import HandCoachError
from handcoach_export import networks, quantise, variants
from handcoach_export.cli import main
from handcoach_train import data
from handcoach_train import networks as trained

ABOUT = {
    "licence": "Apache-2.0",
    "trained_on": "nothing",
    "accuracy": {},
    "crop": {"margin": 1.3, "roll": True},
}
K = [[200.0, 0, 80], [0, 200, 80], [0, 0, 1]]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with checkpoints, a data set of twelve hands, and photographs of the tiny models' hands."""
    folder = tmp_path_factory.mktemp("variants")
    add_tiny_backbone()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = trained.build(SMALL)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.3, 1.0)
    trained.save_checkpoint(network, {**SMALL, **ABOUT}, folder / "small.safetensors")
    trained.save_checkpoint(trained.build(FINDER), {**FINDER, **ABOUT}, folder / "finder.safetensors")
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    images = {}
    for i in range(12):
        joints = hands.template(i / 12) * 0.09 + [0, 0.05, 0.4]
        picture = cv2.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (160, 160))
        cv2.imwrite(str(folder / f"data/{i}.png"), picture)
        images[f"{i}.png"] = {"landmarks": joints.tolist(), "K": K, "group": f"s{i}"}
    (folder / "data/landmarks.json").write_text(json.dumps({"images": images}))
    (folder / "photos").mkdir()
    for i in range(8):
        picture = hands.draw_hand(hands.blank(), 320, 260, 80 + 5 * i)
        cv2.imwrite(str(folder / f"photos/{i}_0.png"), picture[..., ::-1])
    yield folder
    del trained.BACKBONES["tiny"]
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def few(monkeypatch, tiny_landmarks, tiny_finder):
    """Few pictures, a stopwatch that no busy machine disturbs, and the tiny models look for hands in
    photographs."""
    load, time = pipeline.load, variants._time

    def steady(rows, *rest):
        time(rows, *rest)
        assert all(row.ms > 0 for row in rows if row.bytes)
        for row in rows:
            row.ms = row.size / 64 * (1 if row.precision == "int8" else 2)

    monkeypatch.setattr(variants, "_time", steady)
    monkeypatch.setattr(variants, "CALIBRATE", 8)
    monkeypatch.setattr(variants, "ROUNDS", 2)
    monkeypatch.setattr(pipeline, "load", lambda still: load(None, tiny_landmarks, tiny_finder, still=still))


def arguments(place: Path, *command: str) -> list[str]:
    given = ["--data", str(place / "data"), "--images", str(place / "data"), "--count", "4"]
    return [*command[:1], *given, *command[1:]]


# --- integers ---


def test_no_two_neighbours_leave_16_bits():
    """Weights of one sign add up to at most 128 wherever they are packed in pairs, whatever they were."""
    rng = np.random.default_rng(0)
    for shape in ((6, 8, 1, 1), (6, 4, 3, 3), (6, 3, 3, 3)):
        for weight in (rng.normal(0, 1, shape), np.sign(rng.normal(0, 1, shape)), np.ones(shape)):
            rounded, scale = quantise.round_weights(weight.astype(np.float32), np.ones(shape[1], np.float32))
            flat = rounded.astype(int)
            if shape[1] % 2:
                assert np.abs(flat).max() <= 64
            else:
                assert np.abs(flat[:, 0::2] + flat[:, 1::2]).max() <= 128
            error = np.abs(weight - flat * scale[:, None, None, None]).max()
            assert error <= 1.01 * np.abs(weight).max() / 127


def test_rare_large_pairs_cost_less_than_a_bit_of_every_weight():
    """The reason for bounding pairs instead of halving all weights (`reduce_range`)."""
    weight = np.random.default_rng(1).normal(0, 1, (16, 64, 1, 1)).astype(np.float32)
    rounded, scale = quantise.round_weights(weight, np.ones(64, np.float32))
    ours = ((weight - rounded * scale[:, None, None, None]) ** 2).mean()
    half = np.abs(weight).max((1, 2, 3), keepdims=True) / 64
    assert ours < 0.5 * ((weight - np.rint(weight / half) * half) ** 2).mean()


def layers(weights: list[np.ndarray]) -> onnx.ModelProto:
    """uint8 pictures, normalised, through convolutions with ReLU, to means of the last one's channels."""
    make, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    nodes = [make("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]), make("Cast", ["t"], ["c"], to=1),
             make("Sub", ["c", "mean"], ["s"]), make("Div", ["s", "std"], ["x0"])]  # fmt: skip
    made = [
        tensor(np.full((1, 3, 1, 1), 120, np.float32), "mean"),
        tensor(np.full((1, 3, 1, 1), 60, np.float32), "std"),
    ]
    for i, weight in enumerate(weights):
        made += [
            tensor(weight.astype(np.float32), f"w{i}"),
            tensor(np.full(len(weight), 0.1, np.float32), f"b{i}"),
        ]
        nodes += [make("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"y{i}"], pads=[weight.shape[2] // 2] * 4),
                  make("Relu", [f"y{i}"], [f"x{i + 1}"])]  # fmt: skip
    nodes.append(make("ReduceMean", [f"x{len(weights)}"], ["out"], axes=[2, 3], keepdims=0))
    graph = onnx.helper.make_graph(
        nodes, "layers",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["N", 8, 8, 3])],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["N", len(weights[-1])])], made,
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)


def test_the_largest_weights_and_pixels_do_not_saturate():
    """White pictures through weights that are all as large as can be: this processor's integers give what the
    operators mean, with AVX2 alone as with VNNI."""
    import onnxruntime

    rng = np.random.default_rng(2)
    graph = layers([np.ones((16, 3, 3, 3)), np.ones((16, 16, 1, 1)), rng.normal(0, 1, (8, 16, 3, 3))])
    pictures = np.stack([np.full((8, 8, 3), v, np.uint8) for v in (0, 90, 255)])
    made = quantise.quantise(graph, pictures)
    assert len(made.layers) == 3
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(made.graph.SerializeToString(), options)
    fused = session.run(None, {"image": pictures})[0]
    defined = quantise.run_as_defined(made.graph, pictures)[0]
    step = 2 * float(
        onnx.numpy_helper.to_array(next(w for w in made.graph.graph.initializer if w.name == "x3_scale"))
    )
    assert np.abs(fused - defined).max() <= step
    right = quantise.run_as_defined(graph, pictures)[0]
    assert np.abs(fused - right).max() <= 0.02 * np.abs(right).max()


def test_biases_take_up_the_mean_error():
    """The mean of each channel over the calibration pictures is the float graph's, to within two steps."""
    rng = np.random.default_rng(3)
    graph = layers([rng.normal(0, 1, (8, 3, 3, 3)), rng.normal(0, 1, (8, 8, 1, 1))])
    pictures = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    made = quantise.quantise(graph, pictures, 99.0)
    right, ours = (quantise.run_as_defined(g, pictures)[0].mean(0) for g in (graph, made.graph))
    step = float(
        onnx.numpy_helper.to_array(next(w for w in made.graph.graph.initializer if w.name == "x2_scale"))
    )
    assert np.abs(right - ours).max() <= 2 * step


def test_a_layer_can_stay_float():
    graph = layers([np.ones((4, 3, 3, 3)), np.eye(4).reshape(4, 4, 1, 1), np.ones((4, 4, 1, 1))])
    pictures = np.random.default_rng(4).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    made = quantise.quantise(graph, pictures, in_float=["x2"])
    assert set(made.layers) == {"x1", "x3"}
    floats = {w.name for w in made.graph.graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
    assert "w1" in floats and not {"w0", "w2"} & floats


def dense_after(width: int, outputs: int) -> onnx.ModelProto:
    """uint8 pictures through one convolution to means, joined with their first three, and a dense layer."""
    rng = np.random.default_rng(5)
    graph = layers([rng.normal(0, 1, (width, 3, 3, 3))])
    make, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    graph.graph.node[-1].output[0] = "means"
    weight = rng.normal(0, 1, (outputs, width + 3)).astype(np.float32)
    graph.graph.initializer.extend([
        tensor(weight, "w"), tensor(np.ones(outputs, np.float32), "b"), tensor(np.arange(3), "three")
    ])  # fmt: skip
    graph.graph.node.extend([
        make("Gather", ["means", "three"], ["some"], axis=1),
        make("Concat", ["means", "some"], ["joined"], axis=1),
        make("Gemm", ["joined", "w", "b"], ["out"], transB=1),
    ])  # fmt: skip
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = outputs
    return graph


def test_a_wide_dense_layer_reads_its_pooled_part_as_bytes(monkeypatch):
    """Where its weights are worth it; what is joined to that part stays float, and so does a small layer."""
    graph = dense_after(64, 40)
    pictures = np.random.default_rng(6).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    small = quantise.quantise(graph, pictures)
    assert "Gemm" in [node.op_type for node in small.graph.graph.node]
    monkeypatch.setattr(quantise, "WIDE", 64 * 40)
    made = quantise.quantise(graph, pictures)
    assert set(made.layers) == {"x1", "out"} and made.layers["out"] < 1e-3
    onnx.checker.check_model(made.graph)
    stored = {w.name: w for w in made.graph.graph.initializer}
    assert "w" not in stored and stored["out_w"].data_type == onnx.TensorProto.INT8
    assert list(stored["out_w"].dims) == [64, 40] and list(stored["out_w1"].dims) == [3, 40]
    right, ours = (quantise.run_as_defined(g, pictures)[0] for g in (graph, made.graph))
    assert np.abs(ours - right).max() < 0.02 * np.abs(right).max()
    np.testing.assert_allclose(ours.mean(0), right.mean(0), atol=1e-3)
    kept = quantise.quantise(graph, pictures, in_float=["out"])
    assert "Gemm" in [node.op_type for node in kept.graph.graph.node]


# --- variants ---


def test_quantize_writes_a_judged_file(place, tmp_path, capsys):
    output = tmp_path / "small.onnx"
    command = arguments(place, "quantize", str(place / "small.safetensors"), "-o", str(output))
    assert main([*command, "--photos", str(place / "photos")]) == 0
    assert "small in int8 at 64 pixels" in capsys.readouterr().out
    file = model.read(output, "landmarks")
    variant = file.meta["variant"]
    assert (variant["of"], variant["precision"]) == ("small", "int8") and variant["lost"] <= 0.03
    assert variant["source"].startswith("small.safetensors sha256:")
    found = variant["pa_mpjpe"]
    assert found["unit"] == "mm" and found["hands"] == 2
    assert 0 < found["ci95"][0] <= found["mean"] <= found["ci95"][1]
    assert variant["fused"] < 0.1 and 0 < file.meta["parity"]["max_abs"] < 1
    stored = {w.data_type for w in onnx.load(output).graph.initializer}
    assert onnx.TensorProto.INT8 in stored


def test_all_variants_and_their_table(place, tmp_path, capsys):
    """The default, the float one beside it, and nothing that an earlier run left there."""
    (tmp_path / "small-224.onnx").write_bytes(b"of an earlier run")
    (tmp_path / "another.onnx").write_bytes(b"not ours")
    command = arguments(place, "variants", str(place / "small.safetensors"), "--out", str(tmp_path))
    assert main([*command, "--sizes", "128"]) == 0
    report = json.loads((tmp_path / "variants.json").read_text())
    rows = {row["file"]: row for row in report["variants"]}
    assert list(rows) == [
        "small.onnx",
        "small-float.onnx",
        "small-fp32.onnx",
        "small-128.onnx",
        "small-128-float.onnx",
    ]
    kept = {name for name, row in rows.items() if row["kept"]}
    assert kept == {"small.onnx", "small-float.onnx"}
    assert rows["small-fp32.onnx"]["why"].startswith("neither smaller")
    assert {path.name for path in tmp_path.glob("*.onnx")} == kept | {"another.onnx"}
    assert not list(tmp_path.glob(".*"))
    assert [t["ranges"] for t in report["tried"]["small"]][:2] == ["minmax", "percentile"]
    printed = capsys.readouterr().out
    assert (
        tmp_path / "variants.md"
    ).read_text() == printed and "| small-fp32.onnx | small | fp32 | 64 |" in printed
    for name in kept:
        assert model.read(tmp_path / name, "landmarks").name == Path(name).stem


def test_a_variant_that_loses_too_much_is_refused(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(variants, "MOST_LOST", -1.0)
    output = tmp_path / "small.onnx"
    assert main(arguments(place, "quantize", str(place / "small.safetensors"), "-o", str(output))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "PA-MPJPE" in said
    command = arguments(place, "variants", str(place / "small.safetensors"), "--out", str(tmp_path))
    assert main([*command, "--sizes", "128", "--precisions", "fp16"]) == 2
    assert "No variant of small is good enough" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_integers_the_float_one_is_the_default(place, tmp_path, monkeypatch):
    """Where int8 is refused, NAME.onnx is the float file, and no second one lies beside it."""
    true = variants.error

    def worse(session, hands):
        mean, *rest = true(session, hands)
        return mean * (2 if b"QuantizeLinear" in session.file.path.read_bytes() else 1), *rest

    monkeypatch.setattr(variants, "error", worse)
    command = arguments(place, "variants", str(place / "small.safetensors"), "--out", str(tmp_path))
    assert main([*command, "--sizes", "128", "--precisions", "int8", "fp16"]) == 0
    rows = json.loads((tmp_path / "variants.json").read_text())["variants"]
    assert rows[0]["why"].startswith("refused: a PA-MPJPE of") and rows[0]["bytes"] == 0
    assert rows[1]["file"] == "small.onnx" and rows[1]["kept"] and rows[1]["precision"] == "fp16"
    file = model.read(tmp_path / "small.onnx", "landmarks")
    assert file.name == "small" and file.meta["variant"]["precision"] == "fp16"
    assert not (tmp_path / "small-float.onnx").exists()


def row(file: str, precision: str, size: int, bytes_: int, ms: float, pa: float) -> variants.Row:
    return variants.Row(file, "n", precision, size, pa, "mm", 0.0, 0.0, bytes_, ms)


def test_what_is_kept():
    """A variant stays if it is clearly smaller, faster or more accurate than every one before it."""
    rows = [
        row("n", "int8", 160, 3_000_000, 1.0, 10.0),
        row("n-float", "fp16", 160, 6_000_000, 2.0, 10.0),
        row("n-fp32", "fp32", 160, 12_000_000, 1.98, 10.0),
        row("n-128", "int8", 128, 3_000_000, 0.7, 10.2),
        row("n-192", "int8", 192, 3_000_000, 1.4, 9.5),
        row("n-224", "int8", 224, 3_000_000, 2.1, 9.49),
        row("n-huge", "fp16", 224, 80_000_000, 0.1, 1.0),
        row("n-refused", "fp16", 128, 0, 0.0, 99.0),
    ]
    variants._keep(rows, 160)
    assert [r.file for r in rows if r.kept] == ["n", "n-float", "n-128", "n-192"]
    why = {r.file: r.why for r in rows}
    assert why["n"] == "the default: smaller and faster than n-float"
    assert why["n-128"].startswith("faster than n;")
    assert (
        why["n-192"]
        == "more accurate than n; smaller and faster and more accurate than n-float; more accurate than n-128"
    )
    assert why["n-224"] == "neither smaller, nor faster, nor more accurate than n-192"
    assert "70 MB" in why["n-huge"]


def test_calibration_sees_nothing_that_is_judged(place, monkeypatch):
    """Photographs that training holds back, validation and test hands are never calibrated on."""
    found = variants.gather([place / "data"], [place / "photos"], 4)
    calibrate = {file for file, _ in found.calibrate}
    assert not calibrate & {*found.choose.files, *found.judge.files}
    assert not set(found.choose.files) & set(found.judge.files)
    photographs = {file.name for file in calibrate if file.parent.name == "photos"}
    assert 0 < len(photographs) <= 4
    usual, wide = found.calibration(32), found.calibration(32, margin=2.0, roll=False)
    assert usual.shape == wide.shape == (len(found.calibrate), 32, 32, 3)
    assert (found.calibration(32, **{"margin": MARGIN, "roll": True}) == usual).all()
    assert (usual != wide).any(axis=(1, 2, 3)).all()  # as another network sees them
    monkeypatch.setattr(variants, "CALIBRATE", 100)  # all that there are
    names = sorted(file.name for file in (place / "photos").iterdir())
    held = data.held_out(np.array(data.recordings(names, place / "photos")), data.PHOTOS_HELD_OUT)
    found = variants.gather([place / "data"], [place / "photos"], 4)
    used = sorted(file.name for file, _ in found.calibrate if file.parent.name == "photos")
    assert held.any() and used == [name for name, out in zip(names, held, strict=True) if not out]
    monkeypatch.setattr(variants, "CALIBRATE", 8)
    alone = variants.gather([place / "data"], [], 4)
    assert len(alone.calibrate) == 8 and all(file.parent.name == "data" for file, _ in alone.calibrate)


def labelled(root: Path, variants: tuple[str, ...]) -> Path:
    """A data set in the HanCo layout with these variants of its pictures: ten sequences of one frame."""
    for i in range(10):
        write_frame(root, i, 0, hands.template(i / 10) * 0.09 + [0, 0.05, 0.4], [K], variants=variants)
    return root


def test_hands_are_of_the_variant_that_was_trained_on(tmp_path):
    """Where the data set has it, and nobody asks for another."""
    both = labelled(tmp_path / "both", ("rgb", "rgb_merged"))
    one = labelled(tmp_path / "one", ("rgb_merged",))

    def used(**choice) -> list[str]:
        found = variants.gather([both, one], [], 20, **choice)
        return sorted({f"{file.parts[-5]}/{file.parts[-4]}" for file in found.judge.files})

    assert used() == used(trained=[None]) == ["both/rgb_merged", "one/rgb_merged"]
    assert used(trained=["rgb", "rgb"]) == ["both/rgb", "one/rgb_merged"]
    with pytest.raises(HandCoachError, match=r"different variants \(rgb, the usual one\): give --variant"):
        used(trained=["rgb", None])
    assert used(trained=["rgb", None], variant="rgb_merged") == ["both/rgb_merged", "one/rgb_merged"]


def test_a_checkpoint_says_its_variant(place, tmp_path):
    """To quantize and to variants, which pass it on."""
    network, config = trained.load_checkpoint(place / "small.safetensors")
    told = tmp_path / "told.safetensors"
    trained.save_checkpoint(network, {**config, "data": {"variant": "rgb"}}, told)

    class Asked(Exception):
        pass

    def hands_(trained):
        raise Asked(trained)

    for makes in (
        lambda: variants.quantize(told, tmp_path / "a.onnx", hands_, place / "data"),
        lambda: variants.make_all([told], tmp_path, hands_, place / "data"),
    ):
        with pytest.raises(Asked, match="rgb"):
            makes()


def test_hands_without_joints_do_not_move_the_splits(tmp_path):
    """They are left out after the split, as `evaluate` does: what was trained on is not judged."""
    images = {}
    for i in range(20):
        (tmp_path / f"{i}.png").touch()
        known = {"landmarks": (hands.template(0.5) * 0.09 + [0, 0.05, 0.4]).tolist(), "K": K}
        images[f"{i}.png"] = {"points": [[80.0, 80.0]] * 21, "group": f"s{i}"} | (known if i % 3 else {})
    (tmp_path / "landmarks.json").write_text(json.dumps({"images": images}))
    found = variants.gather([tmp_path], [], 40)
    training, choose, judge = (set(part.files) for part in data.split_by(data.load(tmp_path)))
    without = {tmp_path / f"{i}.png" for i in range(0, 20, 3)}
    assert set(found.judge.files) == judge - without and set(found.choose.files) == choose - without
    assert {file for file, _ in found.calibrate} <= training - without


def test_what_the_system_refuses_is_one_sentence(place, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "a.onnx")

    monkeypatch.setattr(networks, "export", full)
    command = ["landmarks", str(place / "small.safetensors"), "-o", str(tmp_path / "a.onnx")]
    assert main(command) == 2
    assert capsys.readouterr().err == "a.onnx: No space left on device\n"


def test_bad_input_is_one_sentence(place, tmp_path, capsys):
    def says(*argv: str) -> str:
        assert main(arguments(place, *argv)) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        return error

    small, out = str(place / "small.safetensors"), ["--out", str(tmp_path)]
    assert "no precision int4: take some of int8, fp16, fp32" in says(
        "variants", small, *out, "--precisions", "int4"
    )
    assert "no size 100: take some of 128" in says("variants", small, *out, "--sizes", "100")
    assert "a multiple of 16" in says("quantize", small, "-o", str(tmp_path / "a.onnx"), "--size", "100")
    assert "does not exist" in says("variants", small, "--out", str(tmp_path / "none"))
    finder = str(place / "finder.safetensors")
    assert "of kind finder, not landmarks" in says("quantize", finder, "-o", str(tmp_path / "a.onnx"))
    assert "no checkpoint" in says("variants", "none.safetensors", *out)
    assert "no folder" in says("variants", small, *out, "--photos", "none")
    assert "no photographs" in says("variants", small, *out, "--photos", str(tmp_path))
    (place / "empty").mkdir()
    cv2.imwrite(str(place / "empty/0_0.png"), hands.blank())
    cv2.imwrite(str(place / "empty/1_0.png"), hands.blank())
    assert "No hand was found" in says("variants", small, *out, "--photos", str(place / "empty"))
    assert "at least 1" in says("variants", small, *out, "--count", "0")
    assert "same name" in says("variants", small, small, *out)
    assert "none is not a folder" in says("variants", small, *out, "--data", "none")
    assert not list(tmp_path.iterdir())


def test_another_size_has_the_same_weights(place):
    """`LandmarkNet.resize`: nothing of a network but the centres of its cells depends on the size."""
    own, other = (networks.load("landmarks", place / "small.safetensors", size=s) for s in (None, 128))
    assert own.meta["size"] == 64 and other.meta["size"] == 128 and other.given.shape == (None, 128, 128, 3)
    for a, b in zip(own.whole.parameters(), other.whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_odd_number_of_cells_costs_no_integers(place):
    """At 80 pixels the deep cells are cut to the size of the others before the two are added."""
    for size in (64, 80):
        source = networks.load("landmarks", place / "small.safetensors", size=size)
        pictures = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
        graph = quantise.optimise(source.to_onnx(pictures))
        made = quantise.quantise(graph, pictures)
        sums = [
            n for n in made.graph.graph.node if n.op_type == "Add" and all(i.endswith("_dq") for i in n.input)
        ]
        assert len(sums) == 1
