"""One readable page of reports: tables, groups, curves, thumbnails; one file that needs no other and no network."""

import base64
import html
import math
from pathlib import Path

from maskhub.data.journal import write_text
from maskhub.errors import ConfigError, PhotoError
from maskhub.evaluation.report import read_report

__all__ = ["report_page"]

STYLE = Path(__file__).with_name("page.css")
COLOURS = ("--c1", "--c2", "--c3", "--c4", "--c5", "--c6")
MOST_FAILURES = 40
PARTS = {"_inside": "inside the region", "_outside": "outside the region"}
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 300, 56, 44
"""Of a curve's drawing, in its own units, and the room for the names of its axes."""
ABOUT = {
    "quality": "How alike generated and real pictures are as sets. Lower is better; compare only figures of the same "
    "network and the same number of pictures.",
    "pairs": "How near made pictures come to the true ones. PSNR, SSIM and identity: higher is better; LPIPS and "
    "non-mask change: lower.",
    "recognition": "Whether faces are still told apart.",
    "detection": "Whether face detectors still find a face.",
    "cycle": "What is lost on the way there and back.",
}


def report_page(reports, path, title="What maskhub measured"):
    """Write the page.

    Args:
        reports: paths of JSON reports; their thumbnails are taken from beside them.
        path: of the HTML file.
        title: of the page.

    Returns:
        the text of the page.

    Raises:
        SourceError: a report that can't be read. ConfigError: no report, or the page could not be written.
    """
    if not reports:
        raise ConfigError("a page needs at least one report.")
    sections, links = [], []
    for number, source in enumerate(map(Path, reports)):
        report = read_report(source)
        name = _title(report, source)
        links.append(f'<a href="#r{number}">{_text(name)}</a>')
        sections.append(f'<section id="r{number}"><h2>{_text(name)}</h2>{_section(report, source.parent)}</section>')
    contents = f"<nav>{''.join(links)}</nav>" if len(links) > 1 else ""
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(title)}</title>
<style>{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header><h1>{_text(title)}</h1>{contents}</header>
<main>{"".join(sections)}</main>
<footer>A made face is an invention, not the person's face, and never evidence.</footer>
</body>
</html>
"""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_text(Path(path), text)
    except (OSError, PhotoError) as error:
        raise ConfigError(
            f"the page {path} could not be written: {getattr(error, 'strerror', None) or error}."
        ) from error
    return text


def _title(report, source):
    return f"{report['measure'].capitalize()} · {source.stem}"


def _section(report, folder):
    about = ABOUT.get(report["measure"])
    parts = [f'<p class="about">{_text(about)}</p>' if about else ""]
    if report["warnings"]:
        parts.append('<ul class="warnings">' + "".join(f"<li>{_text(w)}</li>" for w in report["warnings"]) + "</ul>")
    parts.append(_figures(report["figures"]))
    for column, values in report["groups"].items():
        parts.append(f"<h3>By {_text(column)}</h3>")
        parts.append(_figures({value: _one_row(figures) for value, figures in values.items()}))
    parts += [_curve(curve) for curve in report.get("curves", ()) if any(curve["lines"].values())]
    for gallery in report.get("galleries", ()):
        parts.append(f"<h3>{_text(gallery['title'])}</h3>{_gallery(gallery['items'], folder)}")
    failures = report.get("failures", ())
    if failures:
        parts.append(f"<h3>Not measured: {len(failures)}</h3>{_gallery(failures[:MOST_FAILURES], folder)}")
        if len(failures) > MOST_FAILURES:
            parts.append(f'<p class="about">and {len(failures) - MOST_FAILURES} more, in the JSON report.</p>')
    rows = "".join(f"<dt>{_text(_said(k))}</dt><dd>{_text(_value(v))}</dd>" for k, v in report["settings"].items())
    parts.append(
        f"<details><summary>How it was measured (maskhub {_text(report['maskhub'])})</summary><dl>{rows}</dl></details>"
    )
    return "".join(parts)


def _is_figure(entry):
    return not isinstance(entry, dict) or "value" in entry


def _one_row(figures, prefix=""):
    """Figures of any depth as one row of a table."""
    row = {}
    for name, entry in figures.items():
        row |= {prefix + name: entry} if _is_figure(entry) else _one_row(entry, f"{prefix}{name}, ")
    return row


def _figures(figures):
    """Single figures as tiles, rows of figures as a table."""
    single = {name: entry for name, entry in figures.items() if _is_figure(entry)}
    rows = {name: _one_row(entry) for name, entry in figures.items() if not _is_figure(entry)}
    return (_tiles(single) if single else "") + "".join(_table(part, title) for title, part in _parts(rows))


def _parts(rows):
    """A table of whole, inside and outside is read more easily as three."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    parts = {title: [c for c in columns if c.endswith(end)] for end, title in PARTS.items()}
    whole = [c for c in columns if not any(c in part for part in parts.values())]
    for title, part in ({"": whole} if len(whole) == len(columns) else {"whole picture": whole} | parts).items():
        if part:
            yield title, {name: {c: row.get(c) for c in part} for name, row in rows.items()}


def _tiles(figures):
    tiles = []
    for name, entry in figures.items():
        entry = entry if isinstance(entry, dict) else {"value": entry}
        called = entry.get("called") or _said(name)
        notes = [_ends(entry), f"n {entry['n']:,}" if entry.get("n") is not None else "", entry.get("network", "")]
        note = " · ".join(_text(note) for note in notes if note)
        tiles.append(f"<div><span>{_text(called)}</span><b>{_number(entry['value'])}</b><small>{note}</small></div>")
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(rows, title=""):
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    head = "".join(f"<th>{_text(_said(column))}</th>" for column in columns)
    caption = f"<caption>{_text(title)}</caption>" if title else ""
    body = []
    for name, row in rows.items():
        cells = []
        for column in columns:
            entry = row.get(column)
            entry = entry if isinstance(entry, dict) else {"value": entry}
            title = f' title="n {entry["n"]:,}"' if entry.get("n") is not None else ""
            ends = f"<small>{_text(_ends(entry))}</small>" if _ends(entry) else ""
            cells.append(f"<td{title}>{_number(entry.get('value'))}{ends}</td>")
        body.append(f'<tr><th scope="row">{_text(name)}</th>{"".join(cells)}</tr>')
    inside = f"{caption}<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<div class="wide"><table>{inside}</table></div>'


def _gallery(items, folder):
    figures = []
    for item in items:
        picture = _embedded(folder / item["picture"]) if item.get("picture") else ""
        said = item.get("reason") or _number(item.get("score"))
        image = f'<img src="{picture}" alt="{_text(item["name"])}">' if picture else ""
        figures.append(
            f"<figure>{image}<figcaption><b>{_text(said)}</b> {_text(Path(item['name']).stem)}</figcaption></figure>"
        )
    return f'<div class="gallery">{"".join(figures)}</div>'


def _embedded(path):
    try:
        data = path.read_bytes()
    except OSError:  # a report that travelled without its thumbnails is still a report
        return ""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _curve(curve):
    """An SVG in the page's own colours, with its values in a text for those who can't see it."""
    lines = {
        name: [(x, y) for x, y in points if x is not None and y is not None] for name, points in curve["lines"].items()
    }
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    (x_low, x_high, x_ticks), (y_low, y_high, y_ticks) = (_axis([point[i] for point in points]) for i in (0, 1))

    def place(x, y):
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - 16), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - 14)

    drawn = []
    for tick in y_ticks:
        _, y = place(x_low, tick)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    for tick in x_ticks:
        x, _ = place(tick, y_low)
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_tick(tick)}</text>')
    middle = (LEFT + WIDTH - 16) / 2
    drawn.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{_text(curve["x"])}</text>')
    keys = []
    for number, (name, line) in enumerate(lines.items()):
        colour = f"var({COLOURS[number % len(COLOURS)]})"
        dash = "" if number < len(COLOURS) else ' stroke-dasharray="5 4"'
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dash} points="{path}"/>')
        if len(line) <= 12:
            drawn += ['<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>'.format(*place(x, y), colour) for x, y in line]
        keys.append(f'<span><i style="background:{colour}"></i>{_text(name)}</span>')
    key = f'<div class="key">{"".join(keys)}</div>' if len(lines) > 1 else ""
    said = _text(f"{curve['title']}; {curve['y']} by {curve['x']}")
    return (
        f'<h3>{_text(curve["title"])}</h3><figure class="curve"><figcaption>{_text(curve["y"])}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{"".join(drawn)}</svg>{key}</figure>'
    )


def _axis(values):
    """Round ends and about five round ticks between them."""
    low, high = min(values), max(values)
    if low > 0 and low < 0.5 * high:
        low = 0.0
    if high == low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    low = math.floor(low / step + 1e-9) * step
    count = math.ceil((high - low) / step - 1e-9)
    return low, low + count * step, [low + i * step for i in range(count + 1)]


def _number(value):
    if value is None:
        return "–"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return _text(value)
    if value == 0 or (isinstance(value, int) and abs(value) < 1e7):
        return f"{value:,}" if isinstance(value, int) else "0"
    size = abs(value)
    if size < 1e-4 or size >= 1e7:
        return f"{value:.2e}".replace("-", "−")
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.1 else 4
    return f"{value:,.{digits}f}".replace("-", "−")


def _tick(value):
    text = _number(round(float(value), 10))
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _ends(entry):
    low, high = entry.get("interval") or (0, 0)
    return f"{_number(low)} to {_number(high)}" if None not in (low, high) and high > low else ""


def _said(key):
    """A figure's key in words."""
    words = str(key).replace("_", " ")
    for short in ("psnr", "ssim", "lpips", "tar", "far", "eer"):
        words = " ".join(short.upper() if word == short else word for word in words.split(" "))
    return {"frechet": "Fréchet distance", "kernel": "kernel distance"}.get(words, words)


def _value(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(entry)}" for key, entry in value.items()) or "–"
    return "–" if value is None else str(value)


def _text(value):
    return html.escape(str(value))
