"""Which images train, choose and judge: groups stay whole, given splits are honoured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.app import Task
from core.data.split import draw_folds, draw_split, merge_groups
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
