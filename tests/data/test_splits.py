"""Which folders are splits: as the ``datasets`` package has it, and a line where labels may be taken for splits."""

import warnings

import pytest
from PIL import Image

from maskhub.data.rows import FolderRows
from maskhub.data.splits import splits_of, warn_of_labels, warn_of_loaders

NAMES = [
    "train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation", "train2017",
    "test_set", "my-dev.2", "train 1", "val_kilmer", "train_wreck", "test_user", "kilmer_val", "Val_Kilmer", "TRAIN",
    "devon", "latest", "trainer", "valentina", "contest_x", "training_set", "eval-2", "0val0", "_test", "train_test",
]  # fmt: skip


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


@pytest.fixture
def said():
    """The warnings of a function with photos of these names."""

    def call(warn, *names):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            warn(names)
        return [str(warning.message) for warning in found]

    return call


@pytest.mark.parametrize("name", NAMES)
def test_the_rule_is_that_of_loaders(tmp_path, name):
    from datasets.data_files import DEFAULT_SPLITS, get_data_patterns

    put(tmp_path, f"{name}/1.png")
    patterns = get_data_patterns(str(tmp_path))
    found = {str(split) for split in DEFAULT_SPLITS if split in patterns and patterns[split] != ["**"]}
    assert set(splits_of(name)) == found
    rows = FolderRows(tmp_path)
    with warnings.catch_warnings(record=True):
        (unit,) = rows.units(10)
    assert rows.split_of(unit) in (found or {"train"})


def test_no_identity_is_lost_to_a_split(tmp_path):
    people = ("anne", "val_kilmer", "test_user", "train_wreck", "dev")
    put(tmp_path / "in", *(f"{name}/1.png" for name in people))
    rows = FolderRows(tmp_path / "in")
    with pytest.warns(UserWarning, match=r"anne/1\.png is in no split's folder, .* all go into the split train"):
        (unit,) = rows.units(10)
    assert rows.split_of(unit) == "train"
    assert sorted(row.columns["label"] for row in rows.read(unit)) == sorted(people)


def test_labels_that_look_like_splits_are_said(said):
    assert said(warn_of_labels, "train/anne/1.png", "test2/val_kilmer/1.png", "dev/1.png") == []
    assert said(warn_of_labels, "val_kilmer/1.png", "a/test_user/1.png", "dev/1.png") == [
        "taken for splits by their names: a/test_user (test), val_kilmer (validation). Rename those that are labels."
    ]
    assert said(warn_of_labels, *(f"test_{letter}/1.png" for letter in "abcd")) == [
        "taken for splits by their names: test_a (test), test_b (test), test_c (test), …. Rename those that are labels."
    ]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("a/1.png", "b/2.png"), None),
        (("train/a/1.png", "test/b/2.png"), None),
        (("val_kilmer/1.png", "val_mcdermid/1.png"), None),  # all are read, as the split validation
        (
            ("anne/1.png", "val_kilmer/1.png"),
            "anne/1.png is in no split's folder, but val_kilmer/1.png is: loaders read only photos in such folders. "
            "Rename val_kilmer if it is a label.",
        ),
        (
            ("train/anne/1.png", "train/val_kilmer/1.png"),
            "loaders read the photos in train/val_kilmer in the splits train and validation. Rename val_kilmer if it "
            "is a label.",
        ),
        (
            ("a/1.png", "a/test_2.png"),
            "loaders take a/test_2.png for a split, and read no other photo and no columns: rename it.",
        ),
        (("test_1.png", "train_2.png"), "loaders take test_1.png for a split, and read no columns: rename it."),
    ],
)
def test_what_loaders_would_misread_is_said(said, tmp_path, names, line):
    from datasets import load_dataset

    assert said(warn_of_loaders, *names) == ([line] if line else [])
    put(tmp_path, *names)
    loaded = load_dataset("imagefolder", data_dir=str(tmp_path), drop_labels=True)
    all_read = line is None or line.endswith("read no columns: rename it.")
    assert (sum(len(rows) for rows in loaded.values()) == len(names)) == all_read
