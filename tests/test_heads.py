import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from core.model.heads import PENALTIES, Head, fit_cuts, fit_probe, loss_of, n_logits, recut
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


LINKS = ("softmax", "cumulative", "sigmoid", "regression")


@pytest.mark.parametrize("link", LINKS)
def test_a_head_knows_its_classes_and_takes_over_all_of_another(link: str) -> None:
    head, other = Head(link, 3, 4), Head(link, 3, 4)
    assert head.n_classes == 4
    assert n_logits(link, 4) == head(torch.zeros(1, 3)).shape[1]
    with torch.no_grad():
        for one in (*other.parameters(), *other.buffers()):
            one.normal_()
    features = torch.randn(5, 3)
    head.start_from(other)
    torch.testing.assert_close(head(features), other(features))
    # A copy: what is trained from here on does not change where it came from.
    with torch.no_grad():
        head.weight.add_(1.0)
    assert not torch.equal(head(features), other(features))


def test_logits_are_what_each_link_says() -> None:
    features = np.array([[1.0, 2.0], [0.0, -1.0]])
    ordered = Head("cumulative", 2, 4).double()
    numbers = Head("regression", 2, 4).double()
    with torch.no_grad():
        ordered.weight.copy_(torch.tensor([[0.5, 1.0]]))
        ordered.bias.copy_(torch.tensor([0.2, np.log(0.3), np.log(0.6)]))
        numbers.weight.copy_(torch.tensor([[0.5, 1.0]]))
        numbers.bias.fill_(0.1)
        # w . f is 2.5 and -1; the thresholds are 0.2, 0.2 + 0.3 and 0.5 + 0.6.
        np.testing.assert_allclose(
            ordered(torch.from_numpy(features)), [[2.3, 2.0, 1.4], [-1.2, -1.5, -2.1]], atol=1e-6
        )
        # The numbers are 2.6 and -0.9, the cuts 0.5, 1.5 and 2.5.
        np.testing.assert_allclose(
            numbers(torch.from_numpy(features)), [[2.1, 1.1, 0.1], [-1.4, -2.4, -3.4]], atol=1e-6
        )


def test_losses_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(5)
    z = rng.normal(0, 2, (40, 3))
    y = np.arange(40) % 3
    rows = np.arange(40)
    log_p = log_softmax(z, axis=1)

    def loss(link: str, logits: np.ndarray, target: np.ndarray, smoothing: float) -> np.ndarray:
        pair = torch.from_numpy(logits), torch.from_numpy(target)
        each = loss_of(link, *pair, smoothing=smoothing, reduction="none")
        assert loss_of(link, *pair, smoothing=smoothing) == pytest.approx(float(each.mean()))
        return each.numpy()

    assert loss("softmax", z, y, 0.0).mean() == pytest.approx(log_loss(y, np.exp(log_p)))
    # A tenth of the label is shared by all classes.
    wanted = -0.9 * log_p[rows, y] - 0.1 * log_p.mean(axis=1)
    np.testing.assert_allclose(loss("softmax", z, y, 0.1), wanted)
    many = rng.integers(2, size=(40, 3))
    for smoothing in (0.0, 0.2):
        t = many * (1 - smoothing) + 0.5 * smoothing
        wanted = -(t * np.log(expit(z)) + (1 - t) * np.log(expit(-z))).mean(axis=1)
        np.testing.assert_allclose(loss("sigmoid", z, many, smoothing), wanted)
    # Falling logits of four classes: P(y > k) is their sigmoid.
    z, y = -np.sort(-z, axis=1), np.arange(40) % 4
    above = np.column_stack([np.ones(40), expit(z), np.zeros(40)])
    wanted = -np.log(above[rows, y] - above[rows, y + 1])
    np.testing.assert_allclose(loss("cumulative", z, y, 0.0), wanted)
    # Number 1.2 of a case of class 3: half of 1.8 squared.
    logits = 1.2 - np.array([[0.5, 1.5, 2.5]])
    assert loss("regression", logits, np.array([3]), 0.0).tolist() == pytest.approx([1.62])


def test_equal_thresholds_have_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[40.0, 40.0, -40.0]] * 4, requires_grad=True)
    loss = loss_of("cumulative", logits, torch.tensor([0, 1, 2, 3]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_the_penalty_is_the_best_of_cross_validation_over_groups() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(30), 5)
    y = np.repeat(np.arange(30) % 3, 5)
    # What a group has in common is noise to the others.
    x = rng.normal(size=(150, 8)) + np.repeat(rng.normal(size=(30, 8)), 5, axis=0)
    x[:, 0] += y
    x = x.astype(np.float32)
    probe = fit_probe(x, y, groups.astype(object), link="softmax", n_classes=3, seed=4)
    assert tuple(probe.log_loss) == PENALTIES
    z = (x - x.mean(0)) / x.std(0)
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=4)
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=2000, tol=1e-8)
        p = cross_val_predict(
            model, z, y, groups=groups.astype(str), cv=folds, method="predict_proba"
        )
        assert probe.log_loss[penalty] == pytest.approx(log_loss(y, p), abs=2e-3)
    assert probe.penalty == min(PENALTIES, key=probe.log_loss.__getitem__) not in {1e-5, 1.0}
    kept = log_loss(y, np.exp(log_softmax(probe.out_of_fold, axis=1)))
    assert kept == pytest.approx(probe.log_loss[probe.penalty])


def test_a_probe_of_several_labels_is_a_regression_of_each() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(2, 3, (200, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(0, 3, (200, 3)) > 2).astype(int)
    probe = fit_probe(x, y, np.arange(200).astype(object), link="sigmoid", n_classes=3, seed=0)
    z = (x - x.mean(0)) / x.std(0)
    with torch.no_grad():
        p = probe.head(torch.from_numpy((x - probe.mean) / probe.std)).sigmoid().numpy()
    for label in range(3):
        # The loss is the average over three labels, so the penalty weighs three times as much.
        reference = LogisticRegression(C=probe.penalty / 3, max_iter=2000, tol=1e-8)
        wanted = reference.fit(z, y[:, label]).predict_proba(z)[:, 1]
        np.testing.assert_allclose(p[:, label], wanted, atol=2e-3)


def test_features_that_never_change_carry_nothing() -> None:
    x, y = blobs(80, 2)
    x = np.column_stack([x, np.full((80, 2), [0.0, 7.0], np.float32)])
    probe = fit_probe(x, y, np.arange(80).astype(object), link="softmax", n_classes=2, seed=0)
    assert not probe.head.weight[:, 6:].detach().abs().gt(1e-6).any()
    assert probe.std[6] == probe.std[7] == pytest.approx(1e-3 * x.std(), rel=1e-5)
    nothing = fit_probe(
        np.zeros((8, 3), np.float32),
        np.arange(8) % 2,
        np.arange(8).astype(object),
        link="softmax",
        n_classes=2,
        seed=0,
    )
    assert np.isfinite(nothing.std).all()
    assert (nothing.std > 0).all()
    # One in two of each class is all that can be said.
    assert nothing.log_loss[nothing.penalty] == pytest.approx(np.log(2), abs=1e-3)


def test_a_class_of_two_rows_does_not_stop_the_probe() -> None:
    x, _ = blobs(30, 2)
    y = np.array([0] * 28 + [1] * 2)
    found = fit_probe(x, y, np.arange(30).astype(object), link="softmax", n_classes=2, seed=0)
    again = fit_probe(x, y, np.arange(30).astype(object), link="softmax", n_classes=2, seed=0)
    np.testing.assert_array_equal(found.out_of_fold, again.out_of_fold)
    assert np.isfinite(found.log_loss[found.penalty])


def test_a_number_that_says_the_opposite_keeps_a_slope_above_zero() -> None:
    y = np.arange(60) % 3
    logits = (2.0 - y)[:, None] - np.array([0.5, 1.5])
    found = fit_cuts(logits, y)
    assert found[0] == pytest.approx(1e-3)
    assert found[1] < found[2]


def test_cuts_at_their_halves_leave_the_logits_as_they_are() -> None:
    logits = np.array([[0.3], [-1.2]]) - np.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(recut(logits, np.array([1.0, 0.5, 1.5, 2.5])), logits)
