"""Metrics against what they must be by hand, and against scikit-learn."""

import numpy as np
import pytest

from handcoach_train import metrics


@pytest.fixture
def hands() -> tuple[np.ndarray, np.ndarray]:
    """Predictions and truth (50, 21, 3), wrists at the origin."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 21, 3)) * np.linspace(0, 2, 21)[:, None]
    return truth + rng.normal(0, 0.1, truth.shape) * (np.arange(21) > 0)[:, None], truth


def test_r2_is_scikit_learns_and_the_wrist_pulls_it_down(hands):
    score = pytest.importorskip("sklearn.metrics").r2_score
    said, truth = hands
    flat = truth.reshape(50, 63), said.reshape(50, 63)
    assert metrics.r2(said, truth) == pytest.approx(score(*flat))
    assert metrics.r2(said, truth, wrist=False) == pytest.approx(score(flat[0][:, 3:], flat[1][:, 3:]))
    # A network that also guesses the wrist gets nothing for it, however near its guess.
    guessed = said + 1e-6
    assert metrics.r2(guessed, truth) == pytest.approx(score(flat[0], guessed.reshape(50, 63)))
    assert metrics.r2(guessed, truth) < metrics.r2(guessed, truth, wrist=False) * 60 / 63 + 1e-9
    assert metrics.r2(said, truth) > metrics.r2(said, truth, wrist=False)  # exact zeros count as right

    each = metrics.r2_per_landmark(said, truth)
    assert each[0] == 1 and each[1] < each[20] < 1  # the same error weighs more where truth hardly moves
    assert each.mean() == pytest.approx(metrics.r2(said, truth))
    assert metrics.r2(np.tile(truth.mean(0), (50, 1, 1)), truth, wrist=False) == pytest.approx(0)


def test_errors_in_known_units():
    truth = np.zeros((2, 21, 3))
    truth[:, :, 0] = np.arange(21)
    said = truth.copy()
    said[1, 1:] += [0, 3, 4]  # all but the wrist are 5 off
    assert metrics.mpjpe(said, truth).tolist() == pytest.approx([0, 5 * 20 / 21])
    assert metrics.mse(said, truth) == pytest.approx(25 * 20 / (2 * 21 * 3))
    # Root-aligned: where the wrist is does not count.
    np.testing.assert_allclose(metrics.mpjpe(said + 7, truth), metrics.mpjpe(said, truth))
    assert metrics.distances(said, truth).shape == (2, 21)


def test_the_pck_curve_and_its_area():
    thresholds = np.linspace(0, 50, 101)
    curve = metrics.pck_curve(np.array([[0, 10], [25, np.inf]]), thresholds)
    assert curve[0] == 0.25 and curve[19] == 0.25 and curve[20] == 0.5 and curve[-1] == 0.75
    # Each joint counts from its distance on: 1, 4/5, 1/2 and nothing of the range.
    assert metrics.auc(curve, thresholds) == pytest.approx((1 + 0.8 + 0.5 + 0) / 4, abs=0.01)
    assert metrics.auc(metrics.pck_curve(np.zeros(5))) == 1
    with pytest.raises(ValueError, match="no distances"):
        metrics.pck_curve(np.empty(0))


def test_no_torch():
    import subprocess
    import sys

    code = "import sys, handcoach_train.metrics; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_curves_go_to_50_mm_and_to_half_a_palm():
    assert metrics.THRESHOLDS_MM[[0, 1, -1]].tolist() == [0, 0.5, 50]
    np.testing.assert_allclose(100 * metrics.THRESHOLDS, metrics.THRESHOLDS_MM)
