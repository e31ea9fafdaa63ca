"""Charts: well-formed, in their frame, and true to the numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.observe import chart
from appliance.observe.chart import HEIGHT, WIDTH, Series, by_tens, from_zero, latency, lines, short

SVG = "{http://www.w3.org/2000/svg}"
TIMES = ["13:00", "", "", "13:15"]
HOSTILE = "<script>\"'&</title></svg>"


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def shapes(svg: str, style: str) -> list[ElementTree.Element]:
    return [shape for shape in parse(svg).iter() if style in shape.get("class", "").split()]


def bars(*series: Series, top: float = 10) -> str:
    return chart.bars(series, from_zero(top, short), TIMES, "words", ["a", "b", "c", "d"])


def test_no_time_is_cut_off_at_the_right() -> None:
    svg = lines([Series("one", "one", [1.0] * 60)], from_zero(1, short), [*[""] * 58, "16:00", ""], "words")
    [label] = [text for text in parse(svg).iter(f"{SVG}text") if text.text == "16:00"]
    assert (label.get("class"), label.get("x")) == ("end", str(WIDTH))


def test_bars_stand_on_each_other() -> None:
    svg = bars(Series("one", "one", [10, 5, 0, None]), Series("two", "two", [0, 5, 0, 2]))
    ones, twos = (
        [(float(bar.get("y", "")), float(bar.get("height", ""))) for bar in shapes(svg, s)] for s in ("one", "two")
    )
    assert ones == [(8, 120), (68, 60)]
    assert twos == [(8, 60), (104, 24)]
    assert [title.text for title in parse(svg).iter(f"{SVG}title")] == ["a", "b", "c", "d"]


def test_a_line_is_broken_where_there_is_nothing() -> None:
    svg = lines([Series("one", "one", [1, 2, None, 4])], from_zero(4, short), TIMES, "words")
    path, mark = shapes(svg, "one")
    assert re.sub(r"[\d.]+ [\d.]+", "", path.get("d", "")) == "ML"
    assert (mark.tag, mark.get("r"), mark.get("cy")) == (f"{SVG}circle", "2", "32")  # a line of it would have no length
    assert shapes(lines([Series("one", "one", [None] * 4)], from_zero(4, short), TIMES, "words"), "one") == []


def test_labels_are_where_they_belong() -> None:
    svg = bars(Series("one", "one", [0] * 4), top=7)
    assert [text.text for text in parse(svg).iter(f"{SVG}text")] == ["0", "5", "10", "13:00", "13:15"]


def test_hostile_names_stay_names() -> None:
    svg = chart.bars([Series(HOSTILE, "one", [1])], from_zero(1, lambda _: HOSTILE), [HOSTILE], HOSTILE, [HOSTILE])
    svg += lines([Series(HOSTILE, "one", [1])], from_zero(1, lambda _: HOSTILE), [HOSTILE], HOSTILE)
    assert "<script" not in svg
    for one in re.findall(r"<svg.*?</svg>", svg):
        assert parse(one).get("aria-label") == HOSTILE


VALUES = st.lists(st.none() | st.floats(0, 1e15), min_size=4, max_size=4)


@given(VALUES, VALUES)
def test_nothing_leaves_the_frame(first: list[float | None], second: list[float | None]) -> None:
    series = [Series("one", "one", first), Series("two", "two", second)]
    top = max(sum(values[index] or 0 for values in (first, second)) for index in range(4))
    known = [value for value in first + second if value]
    drawn = [
        chart.bars(series, from_zero(top, short), TIMES, "words", ["a", "b", "c", "d"]),
        lines(series, from_zero(top, short), TIMES, "words"),
        lines(series, by_tens(known or [1], short), TIMES, "words"),
    ]
    for svg in drawn:
        for shape in parse(svg).iter():
            numbers = {name: float(shape.get(name, "0")) for name in ("x", "y", "width", "height")}
            assert 0 <= numbers["x"] <= numbers["x"] + numbers["width"] <= WIDTH + 0.1
            assert 0 <= numbers["y"] <= numbers["y"] + numbers["height"] <= HEIGHT + 0.1
            assert "nan" not in shape.get("d", "")
            assert "e" not in shape.get("d", "")


@pytest.mark.parametrize(
    ("top", "labels"),
    [(0, ["0", "5e-10", "1e-09"]), (1, ["0", "0.5", "1"]), (1.1, ["0", "1", "2"]), (2, ["0", "1", "2"]),
     (3, ["0", "2.5", "5"]), (5.1, ["0", "5", "10"]), (2_100_000, ["0", "2.5M", "5M"])],
    ids=repr,
)  # fmt: skip
def test_a_scale_ends_at_a_round_number(top: float, labels: list[str]) -> None:
    assert [label for _, label in from_zero(top, short).ticks] == labels


@pytest.mark.parametrize(
    ("values", "ticks"), [([1], [1, 10]), ([0.5, 20], [0.1, 1, 10, 100]), ([0.001, 0.001], [0.001, 0.01])], ids=repr
)
def test_a_scale_of_tens_holds_all_values(values: list[float], ticks: list[float]) -> None:
    scale = by_tens(values, short)
    assert [value for value, _ in scale.ticks] == pytest.approx(ticks)
    assert [scale.place(tick) for tick in ticks] == pytest.approx([n / (len(ticks) - 1) for n in range(len(ticks))])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.25, "0.25"), (7.5, "7.5"), (120, "120"), (999.4, "999"), (999.9, "1k"), (1234, "1.23k"),
     (35e6, "35M"), (999_999, "1M"), (2e9, "2G")],
)  # fmt: skip
def test_short_numbers(number: float, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0000123, "12.3 µs"), (0.0009996, "1 ms"), (0.0123, "12.3 ms"), (2.5, "2.5 s")]
)
def test_times(seconds: float, text: str) -> None:
    assert latency(seconds) == text
