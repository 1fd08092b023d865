"""The page itself: page.html with style, script, facts and pictures filled in."""

import html
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from deblur_cli import __version__
from deblur_cli.evaluation.compare import Comparison, Marked, Shown
from deblur_cli.evaluation.page.embedding import LONGEST_PX, Embedded, embed
from deblur_cli.evaluation.tables import format_value, metric_title
from deblur_cli.host.declarations import Metric
from deblur_cli.pictures.atomic import atomic_write

_STAR = {"+ and ★": "what was gained over the blurred picture; the best of the results"}
_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePicture:
    """One picture of a page: what was found, without its pixels, and the pixels as they are embedded.

    cells : by label and metric, the text of a score and of its gain
    """

    name: str
    metrics: tuple[Metric, ...]
    facts: Mapping[str, Any]
    cells: Mapping[tuple[str, str], tuple[str, str]]
    labels: tuple[str, ...]
    worst_gain: float
    embedded: Embedded


def page_picture(
    comparison: Comparison,
    regions: Sequence[Marked] = (),
    *,
    longest_px: int = LONGEST_PX,
    icc: bytes | None = None,
) -> PagePicture:
    """Make ready what a page shows of one comparison; its pixels are not needed any more then.

    Parameters
    ----------
    regions : parts to look at, each a button
    longest_px : longest side of what is embedded
    icc : colour profile of the pictures
    """
    shown = comparison.shown()
    embedded = embed([item.pixels for item in shown], longest_px=longest_px, icc=icc)
    width, height = embedded.full_width, embedded.full_height
    gain = comparison.worst_gain()
    first = comparison.metrics[0] if comparison.metrics else None
    gained = "" if first is None or math.isnan(gain) else f" ({_turned(first, gain)})"
    facts = {
        "title": comparison.name + gained,
        "width": embedded.width,
        "height": embedded.height,
        "panes": [{"label": item.label, "scores": _scores(comparison, item)} for item in shown],
        "regions": [
            {
                "why": marked.why,
                "x": marked.region.x / width,
                "y": marked.region.y / height,
                "width": marked.region.width / width,
                "height": marked.region.height / height,
            }
            for marked in regions
        ],
        "notes": [
            {"text": f"{label} failed: {error}", "failed": True}
            for label, error in comparison.failures.items()
        ]
        + [{"text": embedded.text(), "failed": False}],
    }
    cells = {
        (item.label, metric.name): (
            format_value(metric, item.scores[metric.name]),
            _gain(comparison, item, metric),
        )
        for item in shown
        for metric in comparison.metrics
        if metric.name in item.scores
    }
    return PagePicture(
        name=comparison.name,
        metrics=comparison.metrics,
        facts=facts,
        cells=cells,
        labels=tuple(
            [item.label for item in shown if item is not comparison.sharp] + list(comparison.failures)
        ),
        worst_gain=gain,
        embedded=embedded,
    )


def write_page(
    path: Path,
    pictures: Sequence[PagePicture],
    *,
    title: str,
    subtitle: str = "",
    notes: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write one HTML file that holds everything, the pictures that gained least first; whole or not at all.

    Parameters
    ----------
    subtitle : what the pictures are
    notes : term and explanation, beside those of the metrics

    Raises
    ------
    UsageError : `path` exists and `overwrite` is False
    """
    ordered = worst_first(pictures)
    names = {metric for picture in ordered for _, metric in picture.cells}
    metrics = [metric for metric in ordered[0].metrics if metric.name in names]
    ranked = len(ordered) > 1 and not math.isnan(ordered[0].worst_gain)
    texts = {
        "generator": f"deblur-cli {__version__}",
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "css": _part("page.css"),
        "js": _part("page.js"),
        "table_title": f"Every picture, least gain in {html.escape(metrics[0].name.upper())} first"
        if ranked
        else "Scores"
        if metrics
        else "Pictures",
        "table": _table(ordered, metrics),
        "definitions": _definitions(
            {metric.name.upper(): metric.summary for metric in metrics}
            | dict(notes or {})
            | (_STAR if metrics else {})
        ),
        # < is escaped, so that no text can end the script element
        "facts": json.dumps({"pictures": [picture.facts for picture in ordered]}).replace("<", r"\u003c"),
    }
    before, after = _part("page.html").split("{{pixels}}")
    # names may hold bytes that are no text
    with (
        atomic_write(path, overwrite=overwrite) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        file.write(_filled(before, texts))
        for index, picture in enumerate(ordered):
            for pane, uri in enumerate(picture.embedded.uris):
                file.write(f'<script type="text/plain" id="pixels-{index}-{pane}">{uri}</script>\n')
        file.write(_filled(after, texts))


def worst_first(pictures: Sequence[PagePicture]) -> list[PagePicture]:
    """By the gain of the result that gained least; those without one last, in their order."""
    return sorted(
        pictures,
        key=lambda picture: math.inf if math.isnan(picture.worst_gain) else picture.worst_gain,
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _filled(template: str, texts: Mapping[str, str]) -> str:
    """The template with its places filled, in one go: what is filled in is not looked at again."""
    return _PLACE.sub(lambda place: texts[place[1]], template)


def _turned(metric: Metric, worst_gain: float) -> str:
    """A gain of `Comparison.worst_gain`, with its own sign again."""
    gain = worst_gain if metric.higher_is_better else -worst_gain
    return f"{format_value(metric, gain, signed=True)} {metric.unit}".strip()


def _gain(comparison: Comparison, shown: Shown, metric: Metric) -> str:
    gain = comparison.gain(shown, metric)
    return "" if math.isnan(gain) else format_value(metric, gain, signed=True)


def _scores(comparison: Comparison, shown: Shown) -> list[dict[str, Any]]:
    scores = []
    for metric in comparison.metrics:
        if metric.name not in shown.scores:
            continue
        score, gain = shown.scores[metric.name], comparison.gain(shown, metric)
        better = (gain > 0) == metric.higher_is_better
        scores.append(
            {
                "text": f"{metric.name.upper()} {format_value(metric, score)} {metric.unit}".strip(),
                "gain": _gain(comparison, shown, metric),
                "tone": "" if gain == 0 else "better" if better else "worse",
                "best": shown in comparison.restored and score == comparison.best(metric),
            }
        )
    return scores


def _table(pictures: Sequence[PagePicture], metrics: Sequence[Metric]) -> str:
    labels = list(dict.fromkeys(label for picture in pictures for label in picture.labels))
    return "\n".join(["<table>", *_head(labels, metrics), *_rows(pictures, labels, metrics), "</table>"])


def _head(labels: Sequence[str], metrics: Sequence[Metric]) -> Iterator[str]:
    groups = "".join(
        f'<th class="group" colspan="{len(labels)}" scope="colgroup">{html.escape(metric_title(metric))}</th>'
        for metric in metrics
    )
    names = "".join(f'<th scope="col">{html.escape(label)}</th>' for label in labels) * len(metrics)
    yield f"<thead><tr><td></td>{groups}</tr>"
    yield f'<tr><th scope="col">picture</th>{names}</tr></thead>'


def _rows(pictures: Sequence[PagePicture], labels: Sequence[str], metrics: Sequence[Metric]) -> Iterator[str]:
    yield "<tbody>"
    for index, picture in enumerate(pictures):
        cells = [picture.cells.get((label, metric.name)) for metric in metrics for label in labels]
        columns = "".join(f"<td>{_cell(cell)}</td>" for cell in cells)
        button = f'<button type="button">{html.escape(picture.name)}</button>'
        yield f'<tr data-picture="{index}"><th scope="row">{button}</th>{columns}</tr>'
    yield "</tbody>"


def _cell(cell: tuple[str, str] | None) -> str:
    if cell is None:
        return "&ndash;"
    score, gain = cell
    return f'{score} <span class="quiet">{gain}</span>' if gain else score


def _definitions(terms: Mapping[str, str]) -> str:
    return (
        "<dl>"
        + "\n".join(
            f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in terms.items()
        )
        + "</dl>"
    )
