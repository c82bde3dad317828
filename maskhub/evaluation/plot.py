"""Layout of curves for the page: ticks, lines and bars in SVG units."""

import math

from maskhub.evaluation.words import number

__all__ = ["drawings"]

COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#9333ea", "#0e7490", "#be185d")
"""The colours where the page's style, which has ``--c1`` and so on, is not there."""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 56, 624, 14, 256


def drawings(curves):
    """A dict for the template for each curve with points: the curve, ticks as ``(text, place)``, and lines."""
    return [drawing for drawing in map(_draw, curves) if drawing]


def _draw(curve):
    lines = {name: [p for p in points if None not in p] for name, points in curve.lines.items()}
    points = [point for line in lines.values() for point in line]
    if not points:
        return None
    (x_low, x_high, x_ticks), (y_low, y_high, y_ticks) = (
        _axis([point[i] for point in points], whole=bool(curve.bars)) for i in (0, 1)
    )
    half = 0.4 * (RIGHT - LEFT) / (x_high - x_low)

    def across(x):
        return round(LEFT + (x - x_low) / (x_high - x_low) * (RIGHT - LEFT), 1)

    def up(y):
        return round(BOTTOM - (y - y_low) / (y_high - y_low) * (BOTTOM - TOP), 1)

    def bar(x, y):
        left, top = max(LEFT, across(x) - half), up(y)
        width, height = round(across(x) + half - left, 1), round(BOTTOM - top, 1)
        return {"x": round(left, 1), "y": top, "width": width, "height": height, "text": f"{x}: {y}"}

    return {
        "curve": curve, "width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "bottom": BOTTOM,
        "x_ticks": [(_tick(tick), across(tick)) for tick in x_ticks],
        "y_ticks": [(_tick(tick), up(tick)) for tick in y_ticks],
        "lines": [
            {
                "name": name, "colour": f"var(--c{place % len(COLOURS) + 1}, {COLOURS[place % len(COLOURS)]})",
                "dashed": place >= len(COLOURS),
                "bars": [bar(x, y) for x, y in line if y] if name in curve.bars else [],
                "points": [(across(x), up(y)) for x, y in line],
            }
            for place, (name, line) in enumerate(lines.items())
        ],
    }  # fmt: skip


def _axis(values, whole=False):
    """Round axis limits and about five round ticks between them; only whole ones if ``whole``."""
    low, high = min(values), max(values)
    if low > 0 and low < 0.5 * high:
        low = 0.0
    if high == low:
        high = low + (abs(low) or 1.0)
    rough = max((high - low) / 5, 1 if whole else 0)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    low = math.floor(low / step + 1e-9) * step
    count = math.ceil((high - low) / step - 1e-9)
    return low, low + count * step, [low + i * step for i in range(count + 1)]


def _tick(value):
    text = number(round(float(value), 10))
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
