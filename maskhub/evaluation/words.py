"""Format the numbers and names of figures, and reports for the terminal."""

__all__ = ["number", "report_text", "words"]


def number(value):
    """A number with three or four digits and grouped thousands; – for None."""
    if value is None:
        return "–"
    if value == 0 or (isinstance(value, int) and abs(value) < 1e7):
        return f"{value:,}" if isinstance(value, int) else "0"
    size = abs(value)
    if size < 1e-4 or size >= 1e7:
        return f"{value:.2e}".replace("-", "−")
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.1 else 4
    return f"{value:,.{digits}f}".replace("-", "−")


def words(key):
    """A figure's name in words."""
    text = str(key).replace("_", " ")
    for short in ("psnr", "ssim", "lpips", "tar", "far", "eer"):
        text = " ".join(short.upper() if word == short else word for word in text.split(" "))
    return {"frechet": "Fréchet distance", "kernel": "kernel distance"}.get(text, text)


def report_text(report):
    """The figures of a report and its groups, one per line."""
    lines = _lines(report.rows, "")
    for column, values in report.groups.items():
        for value, rows in values.items():
            lines += [f"{column} {value}", *_lines(rows, "  ")]
    return "\n".join(lines)


def _lines(rows, indent):
    lines = []
    for row, figures in rows.items():
        lines += [f"{indent}{row}"] if row else []
        inner = f"{indent}  " if row else indent
        width = max(map(len, figures), default=0)
        for name, figure in figures.items():
            value = "–" if figure.value is None else f"{figure.value:.4g}"
            unit = f" {figure.unit}" if figure.unit else ""
            ends = " ({:.4g} to {:.4g})".format(*figure.interval) if figure.interval else ""
            count = f", n {figure.n}" if figure.n is not None else ""
            lines.append(f"{inner}{name:<{width}}  {value}{unit}{ends}{count}")
    return lines
