import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from core.model.heads import Head, fit_cuts, fit_probe, loss_of, recut
from core.statistics.scores import scores_from_logits


def blobs(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    x = rng.normal(size=(n, 6)) + 3.0
    x[:, 0] += 1.2 * y
    return x.astype(np.float32), y


def test_probe_finds_the_solution_of_scikit_learn() -> None:
    x, y = blobs(300, 3)
    probe = fit_probe(x, y, np.arange(300).astype(object), link="softmax", n_classes=3, seed=0)
    z = (x - x.mean(0)) / x.std(0)
    reference = LogisticRegression(C=probe.penalty, max_iter=2000, tol=1e-8).fit(z, y)
    with torch.no_grad():
        p = torch.softmax(probe.head(torch.from_numpy((x - probe.mean) / probe.std)), 1).numpy()
    np.testing.assert_allclose(p, reference.predict_proba(z), atol=2e-3)


def test_probe_on_more_features_than_rows_is_the_same_probe() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 200)).astype(np.float32)
    y = (x[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(int)
    probe = fit_probe(x, y, np.arange(60).astype(object), link="softmax", n_classes=2, seed=0)
    z = (x - probe.mean) / probe.std
    reference = LogisticRegression(C=2 * probe.penalty, max_iter=5000, tol=1e-10).fit(z, y)
    with torch.no_grad():
        p = torch.softmax(probe.head(torch.from_numpy(z)), 1).numpy()
    # Two rows of weights that share a penalty are worth one row with twice the C.
    np.testing.assert_allclose(p, reference.predict_proba(z), atol=2e-3)


def test_ordinal_probe_orders_its_thresholds_and_beats_chance() -> None:
    x, y = blobs(400, 4)
    probe = fit_probe(x, y, np.arange(400).astype(object), link="cumulative", n_classes=4, seed=0)
    with torch.no_grad():
        logits = probe.head(torch.from_numpy((x - probe.mean) / probe.std))
    assert (logits[:, :-1] > logits[:, 1:]).all()
    assert float(loss_of("cumulative", logits, torch.from_numpy(y))) < np.log(4) - 0.2


def test_rows_of_one_group_share_a_fold() -> None:
    # Each group is one picture shown ten times with a label drawn at random: out of
    # fold there is nothing to learn, within a fold there is everything.
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(size=(40, 30)), 10, axis=0).astype(np.float32)
    y = np.repeat(rng.permutation(np.tile([0, 1], 20)), 10)
    groups = np.repeat(np.arange(40), 10).astype(object)
    grouped = fit_probe(x, y, groups, link="softmax", n_classes=2, seed=0)
    loose = fit_probe(x, y, np.arange(400).astype(object), link="softmax", n_classes=2, seed=0)
    assert min(grouped.log_loss.values()) > 0.6
    assert min(loose.log_loss.values()) < 0.3


def test_smallest_possible_training_set_still_gives_a_head() -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.1], [1.1, 0.2]], dtype=np.float32)
    y = np.array([0, 1, 0, 1])
    groups = np.array(["a", "b", "c", "d"], dtype=object)
    probe = fit_probe(x, y, groups, link="softmax", n_classes=2, seed=0)
    assert all(np.isfinite(v) for v in probe.log_loss.values())


@pytest.mark.parametrize(
    ("link", "shape"),
    [("softmax", (3,)), ("cumulative", (2,)), ("sigmoid", (3,)), ("regression", (2,))],
)
def test_head_gives_as_many_logits_as_its_link_needs(link: str, shape: tuple[int, ...]) -> None:
    assert Head(link, 4, 3)(torch.zeros(1, 4)).shape[1:] == shape


def test_regression_probe_is_ridge_regression() -> None:
    x, y = blobs(300, 4)
    probe = fit_probe(x, y, np.arange(300).astype(object), link="regression", n_classes=4, seed=0)
    z = (x - x.mean(0)) / x.std(0)
    # Half the mean squared error plus half the squared norm over C n is ridge with alpha 1 / C.
    reference = Ridge(alpha=1 / probe.penalty).fit(z, y)
    with torch.no_grad():
        logits = probe.head(torch.from_numpy((x - probe.mean) / probe.std)).numpy()
    np.testing.assert_allclose(logits[:, 0] + 0.5, reference.predict(z), atol=2e-3)


def test_cuts_are_found_where_the_cases_have_them() -> None:
    # Numbers of 4,000 cases, classes drawn by the proportional odds model with these cuts.
    rng = np.random.default_rng(0)
    slope, cuts = 4.0, np.array([0.3, 1.1, 2.9])
    z = rng.uniform(-1, 4, 4000)
    y = np.searchsorted(cuts, z + rng.logistic(size=4000) / slope)
    logits = z[:, None] - np.array([0.5, 1.5, 2.5])
    found = fit_cuts(logits, y)
    np.testing.assert_allclose(found, [slope, *cuts], rtol=0.08)
    scores = scores_from_logits(recut(logits, found), link="regression")
    assert scores[:, 2:].sum() == pytest.approx((y >= 2).sum(), rel=0.02)


def test_cuts_of_a_class_without_cases_stay_in_order() -> None:
    y = np.array([0] * 30 + [1] * 10)
    logits = y[:, None] + np.random.default_rng(0).normal(0, 0.3, (40, 1)) - np.arange(4) - 0.5
    found = fit_cuts(logits, y)
    assert np.isfinite(found).all()
    assert (np.diff(found[1:]) > 0).all()


def test_a_fitted_head_gives_the_logits_that_its_cuts_say() -> None:
    head = Head("regression", 3, 4)
    features = torch.randn(5, 3)
    with torch.no_grad():
        head.weight.normal_()
        before = head(features).numpy()
        cuts = np.array([2.0, 0.1, 0.9, 2.2])
        head.cuts.copy_(torch.from_numpy(cuts))
        np.testing.assert_allclose(head(features).numpy(), recut(before, cuts), atol=1e-5)
    assert head.n_classes == 4
