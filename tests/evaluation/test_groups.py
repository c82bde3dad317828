"""Intervals of figures, of their differences and ratios, and figures by group."""

import math

import numpy as np
import pytest

from maskhub.errors import ConfigError
from maskhub.evaluation.groups import GAP, Bins, by_group, grouped
from maskhub.evaluation.intervals import (
    bootstrap_interval,
    difference_figure,
    mean_figure,
    ratio_figure,
    share_figure,
    wilson_interval,
)
from maskhub.evaluation.report import Figure
from maskhub.evaluation.sets import PictureSet


def test_wilson_interval_has_its_known_values():
    assert wilson_interval(0, 10) == pytest.approx((0, 0.27753), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.72247, 1), abs=1e-4)
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, example
    assert wilson_interval(0, 0) == (0, 1)
    assert share_figure(0, 0).value is share_figure(0, 0).interval is None


def test_bootstrap_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)
    assert high - low == pytest.approx(4 * 1.96 / 20, rel=0.15)
    assert all(map(math.isnan, bootstrap_interval([1.0])))


def test_a_difference_of_shares_has_its_known_interval():
    found = difference_figure(share_figure(56, 70, better="high"), share_figure(48, 80))
    assert (found.value, found.n, found.better) == (pytest.approx(0.2), 70, "high")
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=1e-4)  # Newcombe 1998, method 10


def test_intervals_of_differences_and_ratios_cover_the_true_value():
    rng, covered = np.random.default_rng(0), np.zeros(2)
    for _ in range(100):
        values, others = rng.normal(3, 1, 60), rng.normal(4, 2, (2, 60))
        others[0] += values  # of the same items; the other row is the lower baseline
        gap = difference_figure(mean_figure(values), mean_figure(rng.normal(2.5, 0.5, 40)))
        ratio = ratio_figure(values, others)
        for place, (figure, true) in enumerate(((gap, 0.5), (ratio, 0.75))):
            covered[place] += figure.interval[0] <= true <= figure.interval[1]
    assert (covered >= 89).all() and (covered < 100).all()
    assert ratio_figure([2.0, 4.0], [[8.0, 8.0], [4.0, 5.0]]).value == pytest.approx(3 / 4.5)
    assert ratio_figure([1.0], [[2.0]]).value is None
    assert difference_figure(Figure(1.0), Figure(2.0, (1, 3))).value is None
    assert difference_figure(share_figure(1, 2), share_figure(0, 0)).value is None


def test_ranges_of_numbers():
    bins = Bins.of("yaw:15:30.5")
    values = ["-3.2", 15, "-15.1", 30.5, "90", "", None, "left", "nan"]
    expected = ["0 to 15", "15 to 30.5", "15 to 30.5", "30.5 and more", "30.5 and more", "", "", "", ""]
    assert [bins.value({"yaw": value}) for value in values] == expected and bins.value({}) == ""


@pytest.mark.parametrize("spec", ["yaw:", "yaw:a", "yaw:30:15", "yaw:0:15", "yaw:15:15", "yaw:inf", "yaw:nan"])
def test_ranges_that_are_none(spec):
    with pytest.raises(ConfigError, match="ascending numbers above 0, as in yaw:15:30:45"):
        Bins.of(spec)


def test_the_yaw_is_measured_where_it_is_missing(heads):
    (heads / "metadata.csv").write_text("file_name,yaw,size\n0.png,-70,9\n1.png,,10\n2.png,31,\n")
    pictures = PictureSet(heads, groups=("yaw:30:60", "size:10", "size"))
    assert pictures.columns == ["yaw", "size", "yaw:30:60", "size:10"]
    rows = [picture.columns for picture in pictures]
    assert [row["yaw:30:60"] for row in rows] == ["60 and more", "0 to 30", "30 to 60", "0 to 30"]
    assert [row["size:10"] for row in rows] == ["0 to 10", "10 and more", "", ""]
    assert "age:10" not in PictureSet(heads, groups=("age:10",)).columns


def test_groups_are_sorted_and_the_unknown_left_out():
    rows = [{"age": "10-19"}, {"age": "3-9"}, {}, {"age": ""}, {"age": "more than 70"}, {"age": "3-9"}]
    assert list(grouped(rows, ["age"])["age"].items()) == [("3-9", [1, 5]), ("10-19", [0]), ("more than 70", [4])]
    with pytest.raises(ConfigError, match="no metadata column 'gender' to group by: there are age"):
        grouped(rows, ["gender"])


def test_groups_and_their_gaps():
    rows = [{"gender": "f"}] * 40 + [{"gender": "m"}] * 2 + [{"gender": "x"}] + [{}]
    scores, warnings = np.array([1.0, 2.0] * 20 + [3.0, 5.0, 7.0, 100.0]), []

    def figures(numbers):
        values = scores[numbers]
        named = {"score": mean_figure(values, better="low"), "σ": Figure(values.std())}
        return {"": named, "made": named} if len(numbers) > 1 else {}

    found = by_group(rows, ["gender"], figures, warnings)["gender"]
    assert list(found) == ["f", "m"] and list(found["f"]) == ["", "made", GAP, f"made, {GAP}"]
    assert list(found["f"][GAP]) == ["score"]
    assert found["f"][GAP]["score"].value == pytest.approx(1.5 - 5)  # the others are m and x, not who has no gender
    assert found["m"][GAP]["score"].interval[0] < 4 - 67 / 41 < found["m"][GAP]["score"].interval[1]
    assert any("gender = x is too small" in w for w in warnings) and any("m has only 2 items" in w for w in warnings)
    assert GAP not in by_group([{"gender": "f"}] * 44, ["gender"], figures, warnings)["gender"]["f"]
