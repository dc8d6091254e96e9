"""Which images train, choose and judge: groups stay whole, given splits are honoured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.app import Task
from core.data.split import (
    _Classes,
    _top_up,
    class_members,
    draw_folds,
    draw_split,
    group_keys,
    merge_groups,
)
from core.errors import LeakageError, ManifestError

TASK = Task(name="t", kind="multiclass")


def manifest(
    labels: list[str], *, groups: list[str] | None = None, split: str = ""
) -> pd.DataFrame:
    n = len(labels)
    return pd.DataFrame(
        {
            "image_id": [f"{i:04d}.png" for i in range(n)],
            "path": [f"{i:04d}.png" for i in range(n)],
            "label": labels,
            "group": groups or [""] * n,
            "split": [split] * n,
            "status": ["ok"] * n,
            "reason": [""] * n,
        }
    )


def grouped(n_groups: int = 90, seed: int = 0) -> pd.DataFrame:
    """Groups of one to four images, each of one class or of two."""
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for group in range(n_groups):
        main = "abc"[group % 3]
        for _ in range(int(rng.integers(1, 5))):
            labels.append(main if rng.random() < 0.8 else "abc"[int(rng.integers(3))])
            groups.append(f"p{group}")
    return manifest(labels, groups=groups)


def is_whole(table: pd.DataFrame, column: str) -> bool:
    """Whether each group has one value of the column."""
    return len(table.drop_duplicates(["group", column])) == table["group"].nunique()


def by_id(table: pd.DataFrame, column: str = "split") -> dict[str, str]:
    return dict(zip(table["image_id"], table[column], strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_no_group_straddles_and_shares_are_kept(seed: int) -> None:
    table, said = draw_split(grouped(seed=seed), task=TASK, seed=seed)
    assert is_whole(table, "split")
    shares = table["split"].value_counts(normalize=True)
    assert abs(shares["test"] - 0.2) < 0.05
    assert abs(shares["val"] - 0.15) < 0.05
    # Stratified: every class has about its share in every split.
    of_class = pd.crosstab(table["label"], table["split"], normalize="index")
    assert (of_class["test"] - 0.2).abs().max() < 0.1
    assert any("every group in one split" in sentence for sentence in said)


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    table = grouped()
    first, _ = draw_split(table, task=TASK, seed=3)
    shuffled, _ = draw_split(table.sample(frac=1, random_state=1), task=TASK, seed=3)
    assert by_id(first) == by_id(shuffled)
    assert by_id(first) != by_id(draw_split(table, task=TASK, seed=4)[0])
    assert list(first["image_id"]) == list(table["image_id"])


def test_without_groups_it_is_said_that_leakage_cannot_be_checked() -> None:
    table, said = draw_split(manifest(list("ab") * 30), task=TASK, seed=0)
    assert set(table["split"]) == {"train", "val", "test"}
    assert any("cannot be checked" in sentence for sentence in said)


def test_rows_that_are_skipped_have_no_split() -> None:
    table = manifest(list("ab") * 30)
    table.loc[5, ["status", "reason", "label"]] = ["skipped", "not an image", ""]
    split = by_id(draw_split(table, task=TASK, seed=0)[0])
    assert split["0005.png"] == ""
    assert "" not in {value for image_id, value in split.items() if image_id != "0005.png"}


def test_a_full_given_split_is_kept() -> None:
    table = manifest(list("ab") * 30)
    table["split"] = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    kept, said = draw_split(table, task=TASK, seed=0)
    assert by_id(kept) == by_id(table)
    assert any("given and kept" in sentence for sentence in said)


def test_a_given_val_without_a_test_judges_and_a_new_val_chooses() -> None:
    table = grouped()
    is_val = table["group"].isin([f"p{i}" for i in range(20)])
    table["split"] = np.where(is_val, "val", "train")
    drawn, said = draw_split(table, task=TASK, seed=0)
    assert (drawn.loc[is_val, "split"] == "test").all()
    assert set(drawn.loc[~is_val, "split"]) == {"train", "val"}
    assert is_whole(drawn, "split")
    assert any("The given val is used for the final numbers" in sentence for sentence in said)


def test_a_given_test_is_kept_and_val_comes_from_train() -> None:
    table = manifest(list("ab") * 30)
    table["split"] = ["train"] * 45 + ["test"] * 15
    drawn, said = draw_split(table, task=TASK, seed=0)
    assert list(drawn["split"][45:]) == ["test"] * 15
    assert set(drawn["split"][:45]) == {"train", "val"}
    assert any("drawn from train" in sentence for sentence in said)


def test_train_alone_sets_nothing_aside_so_all_three_are_drawn() -> None:
    drawn, said = draw_split(manifest(list("ab") * 30, split="train"), task=TASK, seed=0)
    assert set(drawn["split"]) == {"train", "val", "test"}
    assert any("nothing was set aside" in sentence for sentence in said)


def test_a_share_of_nothing_draws_nothing() -> None:
    table, _ = draw_split(manifest(list("ab") * 30), task=TASK, seed=0, test=0.0)
    assert set(table["split"]) == {"train", "val"}
    with pytest.raises(ManifestError, match="shares"):
        draw_split(table, task=TASK, seed=0, val=0.6, test=0.5)


def test_a_given_group_crossing_is_refused() -> None:
    table = manifest(list("ab") * 30, groups=[f"p{i // 2}" for i in range(60)])
    table["split"] = ["train"] * 41 + ["val"] * 10 + ["test"] * 9
    with pytest.raises(LeakageError, match=r"2 of 30 groups .* 'p20'.*0040.png in train"):
        draw_split(table, task=TASK, seed=0)


def test_half_a_split_and_a_split_without_train_are_refused() -> None:
    table = manifest(list("ab") * 30)
    table["split"] = ["train"] * 50 + [""] * 10
    with pytest.raises(ManifestError, match="10 of 60 images have no split"):
        draw_split(table, task=TASK, seed=0)
    with pytest.raises(ManifestError, match="no train"):
        draw_split(table.assign(split="test"), task=TASK, seed=0)


def test_a_class_without_train_images_is_refused_and_a_thin_one_is_told() -> None:
    table = manifest(["a", "b"] * 20 + ["c"])
    table["split"] = ["train"] * 30 + ["val"] * 5 + ["test"] * 6
    with pytest.raises(ManifestError, match="'c'"):
        draw_split(table, task=TASK, seed=0)
    table.loc[0, "label"] = "c"
    _, said = draw_split(table, task=TASK, seed=0)
    assert any("test has fewer than 2 groups of: c (1)" in sentence for sentence in said)


def test_a_class_with_two_images_is_refused_with_advice() -> None:
    with pytest.raises(ManifestError, match=r"'c' with 2; at least 6 are needed.*merge the class"):
        draw_split(manifest(["a", "b"] * 30 + ["c"] * 2), task=TASK, seed=0)


def test_groups_count_and_not_images() -> None:
    # Class c: 20 images, but of two patients only.
    table = manifest(
        ["a", "b"] * 30 + ["c"] * 20,
        groups=[f"p{i}" for i in range(60)] + ["x"] * 10 + ["y"] * 10,
    )
    with pytest.raises(ManifestError, match="'c' with 2"):
        draw_split(table, task=TASK, seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_class_allowed_stands_in_every_split_twice(seed: int) -> None:
    labels = ["a"] * 60 + ["b"] * 20 + ["c"] * 7 + ["d"] * 6
    table, said = draw_split(manifest(labels), task=TASK, seed=seed)
    counts = pd.crosstab(table["label"], table["split"])
    assert counts.loc["d"].tolist() == [2, 2, 2]
    assert counts.to_numpy().min() >= 2
    assert any("Fewer than 10 images of: c (7), d (6)" in sentence for sentence in said)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_classes", [2, 8])
def test_a_table_of_smallest_classes_alone_is_split(n_classes: int, seed: int) -> None:
    # Fewer images in every class than there are folds to draw from.
    table, _ = draw_split(manifest(list("abcdefgh"[:n_classes]) * 6), task=TASK, seed=seed)
    assert (pd.crosstab(table["label"], table["split"]) == 2).all(axis=None)


def test_one_class_alone_is_refused_although_the_task_names_more() -> None:
    task = Task(name="t", kind="ordinal", classes=("0", "1", "2"))
    with pytest.raises(ManifestError, match="one class \\('1'\\)"):
        draw_split(manifest(["1"] * 60), task=task, seed=0)
    _, said = draw_split(manifest(["1", "0"] * 30), task=task, seed=0)
    assert any("No image of: 2" in sentence for sentence in said)


def test_several_labels_are_spread_by_the_rarest() -> None:
    task = Task(name="t", kind="multilabel")
    labels = ["a", "a|b", "b", "|"] * 15 + ["a|c"] * 8
    table, _ = draw_split(manifest(labels), task=task, seed=0)
    with_c = table[table["label"].str.contains("c")]
    assert with_c["split"].value_counts().min() >= 2


def sizes(table: pd.DataFrame) -> dict[str, int]:
    return table["split"].value_counts().to_dict()


def test_shares_are_met_and_the_sizes_told() -> None:
    # 1/5 of 200 are 40; of the other 160, 0.15 / 0.8 = 0.1875 is nearly 1/5, which are 32.
    plain, said = draw_split(manifest(list("ab") * 100), task=TASK, seed=0)
    assert sizes(plain) == {"train": 128, "val": 32, "test": 40}
    assert said[-1] == "Train 128 images; val 32 images; test 40 images."
    # Every class has its share: half of each.
    assert pd.crosstab(plain["label"], plain["split"]).loc["a"].to_dict() == {
        "train": 64,
        "val": 16,
        "test": 20,
    }
    pairs = manifest(list("aabb") * 50, groups=[f"p{i // 2}" for i in range(200)])
    whole, said = draw_split(pairs, task=TASK, seed=0)
    assert sizes(whole) == {"train": 128, "val": 32, "test": 40}
    assert said[-1] == (
        "Train 128 images of 64 groups; val 32 images of 16 groups; test 40 images of 20 groups."
    )


@pytest.mark.parametrize(("share", "n"), [(0.5, 100), (0.25, 50), (0.1, 23), (0.05, 12)])
def test_other_shares_are_met_too(share: float, n: int) -> None:
    # A tenth and a twentieth are nearly 1/9 and 1/17: the fewest folds that come near.
    table, _ = draw_split(manifest(list("ab") * 100), task=TASK, seed=0, val=0, test=share)
    assert sizes(table) == {"train": 200 - n, "test": n}
    table, _ = draw_split(manifest(list("ab") * 100), task=TASK, seed=0, val=share, test=0)
    assert sizes(table) == {"train": 200 - n, "val": n}


@pytest.mark.parametrize("shares", [(-0.1, 0.2), (0.2, -0.1), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ManifestError, match="shares lie between 0 and 1"):
        draw_split(manifest(list("ab") * 30), task=TASK, seed=0, val=shares[0], test=shares[1])


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**40])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert set(draw_split(grouped(), task=TASK, seed=seed)[0]["split"]) == {"train", "val", "test"}
    # Fewer images of every class than there are folds.
    few, _ = draw_split(manifest(list("abcdefgh") * 6), task=TASK, seed=seed)
    assert set(few["split"]) == {"train", "val", "test"}
    assert set(draw_folds(grouped(), task=TASK, folds=3, seed=seed)) == {0, 1, 2}


def test_two_groups_of_a_class_are_enough_for_each_split() -> None:
    # Without a val, two to train on and two to test.
    table, _ = draw_split(manifest(list("ab") * 20 + ["c"] * 4), task=TASK, seed=0, val=0)
    assert sizes(table[table["label"] == "c"]) == {"train": 2, "test": 2}
    with pytest.raises(ManifestError, match="'c' with 3; at least 4 are needed, 2 for each"):
        draw_split(manifest(list("ab") * 20 + ["c"] * 3), task=TASK, seed=0, val=0)
    # With a given test, two to train on and two to choose by.
    table = manifest(list("ab") * 20 + ["c"] * 4 + list("abc") * 4)
    table["split"] = ["train"] * 44 + ["test"] * 12
    drawn, _ = draw_split(table, task=TASK, seed=0)
    assert sizes(drawn[:44][drawn["label"][:44] == "c"]) == {"train": 2, "val": 2}
    assert (drawn["split"][44:] == "test").all()
    table.loc[43, "label"] = "a"
    with pytest.raises(ManifestError, match="'c' with 3; at least 4"):
        draw_split(table, task=TASK, seed=0)


def test_a_full_given_split_needs_no_two_groups_of_a_class() -> None:
    table = manifest(list("ab") * 10)
    table["split"] = ["train"] * 16 + ["val", "val", "test", "test"]
    drawn, said = draw_split(table, task=TASK, seed=0)
    assert by_id(drawn) == by_id(table)
    assert "The given val has fewer than 2 groups of: a (1), b (1)." in said
    assert "The given test has fewer than 2 groups of: a (1), b (1)." in said
    assert said[-1] == "Train 16 images; val 2 images; test 2 images."


def test_without_a_val_share_a_given_val_still_judges() -> None:
    table = manifest(list("ab") * 30)
    table["split"] = ["train"] * 40 + ["val"] * 20
    drawn, _ = draw_split(table, task=TASK, seed=0, val=0)
    assert sizes(drawn) == {"train": 40, "test": 20}


def test_one_group_for_all_images_is_named_with_the_way_out() -> None:
    table = manifest(list("ab") * 15, groups=["clinic"] * 30)
    with pytest.raises(ManifestError) as caught:
        draw_split(table, task=TASK, seed=0)
    message = str(caught.value)
    for part in ("2 classes have", "all images carry one group", "'clinic'", "--group image_id"):
        assert part in message
    table["group"] = ["north"] * 15 + ["south"] * 15
    with pytest.raises(ManifestError, match="few and huge, 2 of 30 images, first 'north'"):
        draw_split(table, task=TASK, seed=0)
    # Ten images of a group on average are what a patient has.
    table["group"] = [f"p{i // 10}" for i in range(30)]
    with pytest.raises(ManifestError, match="an image without a group counts as one"):
        draw_split(table, task=TASK, seed=0)


def test_what_is_known_of_groups_and_copies_is_told() -> None:
    copies = merge_groups(manifest(list("aabb") * 15), [("0000.png", "0001.png")])
    _, said = draw_split(copies, task=TASK, seed=7)
    assert any("Copies of one image stay together. No group is known" in s for s in said)
    assert any("stratified by class (seed 7)" in s for s in said)
    # An image may be a copy of another and the others still have groups.
    named = manifest(list("aabb") * 15, groups=["", "", *(f"p{i}" for i in range(58))])
    _, said = draw_split(merge_groups(named, [("0000.png", "0001.png")]), task=TASK, seed=7)
    drawn = next(s for s in said if s.startswith("The split was drawn"))
    assert "every group in one split (seed 7). Copies of one image stay together." in drawn
    assert "No group is known" not in drawn
    _, said = draw_split(named, task=TASK, seed=7)
    assert not any("Copies" in s for s in said)


def test_ten_images_of_a_class_are_not_called_few() -> None:
    _, said = draw_split(manifest(["a"] * 20 + ["b"] * 10 + ["c"] * 9), task=TASK, seed=0)
    assert any("Fewer than 10 images of: c (9)." in s for s in said)
    _, said = draw_split(manifest(["a"] * 20 + ["b"] * 10), task=TASK, seed=0)
    assert not any("Fewer than" in s for s in said)


def test_members_of_classes_are_told_with_the_rarest_label_as_stratum() -> None:
    task = Task(name="t", kind="multilabel")
    table = manifest(["a|b", "a", "", "b|a", "a|c|b"], groups=["p", "p", "", "q", ""])
    groups, strata, labels = class_members(table, task)
    assert list(groups) == ["g:p", "g:p", "i:0002.png", "g:q", "i:0004.png"] == group_keys(table)
    # a stands 4 times, b 3 times and c once.
    assert list(strata) == ["b", "a", "", "b", "c"]
    assert labels == [["a", "b"], ["a"], [], ["b", "a"], ["a", "c", "b"]]
    # One label is enough: images without it are the others.
    assert class_members(manifest(["a", ""]), task)[2] == [["a"], []]
    with pytest.raises(ManifestError, match="All 2 usable images are of one class;"):
        class_members(manifest(["", ""]), task)


def test_groups_of_rare_classes_are_moved_until_both_parts_have_enough() -> None:
    task = Task(name="t", kind="multilabel")
    #       may go   would leave the giver too few of b   may go   is in the taker   may not go
    labels = ["a", "a|b", "b", "a", "a", "c", "c", "c"]
    groups = ["p", "q", "r", "s", "t", "u", "v", "w"]
    classes = _Classes(manifest(labels, groups=groups), task)
    giver = np.array([True, True, True, True, False, True, True, False])
    taker = ~giver
    _top_up(classes, giver, taker, keep=2, need=3)
    # Of b the giver has two groups and keeps both, so of p, q and s only p could go, and then
    # two groups of a are left. c has one in the taker and two in the giver, which stay.
    assert [g for g, is_taken in zip(groups, taker, strict=True) if is_taken] == ["p", "t", "w"]
    assert (giver == ~taker).all()
    # With fewer to keep, each class gets what it needs and no more.
    _top_up(classes, giver, taker, keep=0, need=2)
    assert classes.group_counts(taker) == {"a": 3, "b": 2, "c": 2}
    assert (giver == ~taker).all()


# What stands in the methods of a report, sentence by sentence, for two classes without groups.
DRAWN = (
    ", stratified by class (seed 7). No group is known, so images that belong together may stand "
    "in different splits; this cannot be checked."
)
SENTENCES = {
    ("",): [f"The split was drawn at random{DRAWN}"],
    ("train",): [
        "The data name every image train, so nothing was set aside by them.",
        f"The split was drawn at random{DRAWN}",
    ],
    ("train", "val"): [
        "Only train and val are given. The given val is used for the final numbers and is called "
        "test from here on; what chooses the model and the thresholds is a new val, drawn from "
        f"train{DRAWN}"
    ],
    ("train", "test"): [
        "Train and test are given and kept; val, which chooses the model and the thresholds, was "
        f"drawn from train{DRAWN}"
    ],
    ("train", "val", "test"): ["Train, val and test are given and kept."],
}


@pytest.mark.parametrize("given", SENTENCES)
def test_a_report_says_how_the_split_came_about(given: tuple[str, ...]) -> None:
    table = manifest(list("ab") * 30)
    table["split"] = [given[i // 2 % len(given)] for i in range(60)]
    drawn, said = draw_split(table, task=TASK, seed=7)
    counts = drawn["split"].value_counts()
    shares = "; ".join(f"{name} {counts[name]} images" for name in ("train", "val", "test"))
    assert list(said) == [*SENTENCES[given], f"{shares.capitalize()}."]


def test_what_is_wrong_with_a_given_split_and_what_to_do_is_said() -> None:
    table = manifest(list("ab") * 10)
    table["split"] = ["val", "test"] * 10
    with pytest.raises(ManifestError) as refused:
        draw_split(table, task=TASK, seed=0)
    assert str(refused.value) == (
        "The data name the split test and val but no train, so there is nothing to learn from. "
        "Add train rows, or leave the split out and let one be drawn."
    )
    table["split"] = ["train"] * 17 + [""] * 3
    with pytest.raises(ManifestError) as refused:
        draw_split(table, task=TASK, seed=0)
    assert str(refused.value) == (
        "3 of 20 images have no split and the others do (first: 0017.png). Fill the column for "
        "all images, or leave it out for all."
    )


# --- folds -------------------------------------------------------------------------------------


def test_folds_cover_each_image_once_and_keep_groups_whole() -> None:
    table = grouped()
    table.loc[3, ["status", "reason"]] = ["skipped", "damaged"]
    folds = draw_folds(table, task=TASK, folds=5, seed=0)
    assert folds[3] == -1
    assert set(np.delete(folds, 3)) == {0, 1, 2, 3, 4}
    ok = table.assign(fold=folds).query("status == 'ok'")
    assert is_whole(ok, "fold")
    assert (ok.groupby(["fold", "label"]).size() > 0).all()
    shuffled = table.sample(frac=1, random_state=2)
    again = draw_folds(shuffled, task=TASK, folds=5, seed=0)
    assert dict(zip(shuffled["image_id"], again, strict=True)) == dict(
        zip(table["image_id"], folds, strict=True)
    )


def test_a_class_of_as_many_groups_as_folds_has_one_in_each() -> None:
    table = manifest(["a", "b"] * 10 + ["c"] * 5)
    folds = draw_folds(table, task=TASK, folds=5, seed=0)
    assert sorted(folds[20:]) == [0, 1, 2, 3, 4]
    assert np.bincount(folds).tolist() == [5] * 5
    # The largest class has two groups: two folds take one of each class.
    halves = draw_folds(manifest(list("abab")), task=TASK, folds=2, seed=1)
    assert sorted(halves[::2]) == sorted(halves[1::2]) == [0, 1]
    assert not np.array_equal(folds, draw_folds(table, task=TASK, folds=5, seed=1))


def test_more_folds_than_groups_of_a_class_are_refused() -> None:
    with pytest.raises(ManifestError, match="'c' with 3; at least 5"):
        draw_folds(manifest(["a", "b"] * 10 + ["c"] * 3), task=TASK, folds=5, seed=0)
    with pytest.raises(ManifestError, match="--folds 1"):
        draw_folds(manifest(["a", "b"] * 10), task=TASK, folds=1, seed=0)


# --- duplicates --------------------------------------------------------------------------------


def test_pairs_join_groups_transitively() -> None:
    table = manifest(list("ababab"), groups=["p", "p", "q", "", "", ""])
    ids = list(table["image_id"])
    # 1 (p) - 2 (q) joins p and q; 2 (q) - 3 adds an image; 4 and 5 stay as they are.
    merged = merge_groups(table, [(ids[1], ids[2]), (ids[3], ids[2]), ("unknown.png", ids[0])])
    assert list(merged["group"]) == ["p", "p", "p", "p", "", ""]


def test_copies_without_a_group_get_one() -> None:
    table = manifest(list("abab"))
    merged = merge_groups(table, [("0003.png", "0001.png")])
    assert list(merged["group"]) == ["", "copies of 0001.png", "", "copies of 0001.png"]


def test_long_chains_of_pairs_are_one_group() -> None:
    table = manifest(list("ab") * 4)
    ids = list(table["image_id"])
    # Joined from the end, and twice, and in circles: 0-1-2-3-4-5; 6-7 stay a pair of their own.
    pairs = [(ids[i + 1], ids[i]) for i in (4, 2, 0, 3, 1)]
    merged = merge_groups(table, [*pairs, (ids[0], ids[5]), (ids[7], ids[6]), (ids[2], ids[2])])
    assert list(merged["group"]) == ["copies of 0000.png"] * 6 + ["copies of 0006.png"] * 2
    alone = merge_groups(table, [(ids[2], ids[2]), (ids[0], "unknown"), ("unknown", ids[0])])
    assert list(alone["group"]) == [""] * 8


def test_a_given_split_is_not_undone_by_copies() -> None:
    table = manifest(list("abab"))
    table["split"] = ["train", "test", "train", "test"]
    merged = merge_groups(table, [("0000.png", "0001.png"), ("0000.png", "0002.png")])
    assert list(merged["group"]) == ["copies of 0000.png", "", "copies of 0000.png", ""]


def test_copies_never_straddle_a_drawn_split() -> None:
    table = manifest(list("ab") * 40)
    pairs = [(f"{i:04d}.png", f"{i + 40:04d}.png") for i in range(40)]
    drawn, _ = draw_split(merge_groups(table, pairs), task=TASK, seed=0)
    split = by_id(drawn)
    assert all(split[first] == split[second] for first, second in pairs)
