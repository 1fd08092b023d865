"""The card beside a released weights file: generated from the file's header, never typed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deblur_cli.blur.toml_writer import toml_document, toml_value
from deblur_cli.weights.header import Header, Training, file_sha256


def card_text(path: Path, header: Header, *, parameters: int, source: str) -> str:
    """The Markdown card of a weights file. Scores, data, licence and recipe are the header's."""
    name = path.name.removesuffix(".safetensors")
    lines = [
        f"# {name}",
        "",
        f"Weights of `{header.model}` ({source}). Use: `deblur image.png -m {name}`.",
        "",
        "| | |",
        "| --- | --- |",
        f"| file | `{path.name}`, {path.stat().st_size / 1e6:.1f} MB, stored as {header.dtype} |",
        f"| SHA-256 | `{file_sha256(path)}` |",
        f"| parameters | {parameters:,} |",
        f"| options | {_pairs(header.options)} |",
        f"| trained on | {', '.join(header.training_data)} |",
        *([f"| pairs made by | {', '.join(map(_spec, header.specs.items()))} |"] if header.specs else []),
        f"| steps | {_steps(header)} |",
        f"| run record | SHA-256 `{header.run}` |",
        f"| licence of the weights | {header.licence} |",
        f"| made with | deblur-cli {header.tool_version} |",
        "",
        "## Scores",
        "",
        "Means over the pictures of a set, of the blurred input and of the restored picture. PSNR in dB: mean over the pictures "
        "where it is finite; pooled: PSNR of the mean MSE over all of them. SSIM with the Gaussian window 11x11. The last column "
        "is the hash of the protocol, of `deblur eval`, and of the pictures themselves.",
        "",
        "| data | split | pictures | PSNR | pooled PSNR | SSIM | MSE | MAE | protocol, pairs |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        *(_score_row(score) for score in header.scores),
        "",
        *(
            f"{condition}."
            for condition in dict.fromkeys(str(score["conditions"]) for score in header.scores)
        ),
        "",
        "## Recipe",
        "",
        "```toml",
        toml_document({**header.recipe, "model": header.options}, nested=True).strip(),
        "```",
        "",
        *_earlier(header),
        "## Limits",
        "",
        header.limits or "Not described.",
        "",
        "## Credits",
        "",
        *([f"- {credit}" for credit in header.credits] or ["None stated."]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _steps(header: Header) -> str:
    before = sum(training.steps for training in header.earlier)
    return f"{header.steps:,}" + (f", begun from weights of {before:,}" if header.earlier else "")


def _earlier(header: Header) -> list[str]:
    """The section of the trainings that the last one went on from; nothing where it began from nothing."""
    if not header.earlier:
        return []
    return [
        "## Earlier trainings",
        "",
        "Each began from the weights of the one above it, and the last one from these.",
        "",
        "| trained on | pairs made by | steps | run record, SHA-256 | in its recipe |",
        "| --- | --- | ---: | --- | --- |",
        *(_earlier_row(training, header) for training in header.earlier),
        "",
    ]


def _earlier_row(training: Training, last: Training) -> str:
    otherwise = ", ".join(f"`{text}`" for text in _otherwise(training.recipe, last.recipe))
    cells = (
        ", ".join(training.training_data),
        ", ".join(map(_spec, training.specs.items())),
        f"{training.steps:,}",
        f"`{training.run[:12]}`",
        otherwise.replace("|", "\\|") or "as above",
    )
    return f"| {' | '.join(cells)} |"


def _otherwise(recipe: Mapping[str, Any], other: Mapping[str, Any], table: str = "") -> Iterator[str]:
    """What a recipe has otherwise than another one, in the words of --set; "none" is what it has not."""
    for name in dict.fromkeys((*recipe, *other)):
        mine, theirs = recipe.get(name), other.get(name)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            yield from _otherwise(mine, theirs, f"{table}{name}.")
        elif mine != theirs:
            yield f"{table}{name} = {'none' if mine is None else toml_value(mine)}"


def _score_row(score: Mapping[str, Any]) -> str:
    none = "identical" if score.get("identical_blurry") == score["pictures"] else "-"
    columns = [
        " → ".join(none if value is None else f"{value:{decimals}}" for value in (blurry, restored))
        for blurry, restored, decimals in (
            (score["blurry"]["psnr"], score["restored"]["psnr"], ".2f"),
            (score["pooled_psnr_blurry"], score["pooled_psnr_restored"], ".2f"),
            (score["blurry"]["ssim"], score["restored"]["ssim"], ".4f"),
            (score["blurry"]["mse"], score["restored"]["mse"], ".3e"),
            (score["blurry"]["mae"], score["restored"]["mae"], ".5f"),
        )
    ]
    hashes = [f"`{score[name][:12]}`" for name in ("protocol", "pairs_sha256") if score.get(name)]
    cells = (score["data"], score["split"], score["pictures"], *columns, ", ".join(hashes))
    return f"| {' | '.join(map(str, cells))} |"


def _spec(item: tuple[str, str]) -> str:
    name, sha256 = item
    return f"{name} `{sha256[:12]}`"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "none"
