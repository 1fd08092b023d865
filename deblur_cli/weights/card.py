"""The card beside a released weights file: generated from the file's header, never typed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deblur_cli.blur.toml_writer import toml_document
from deblur_cli.weights.header import Header, file_sha256


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
        f"| steps | {header.steps:,} |",
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
        "## Limits",
        "",
        header.limits or "Not described.",
        "",
        "## Credits",
        "",
        *([f"- {credit}" for credit in header.credits] or ["None stated."]),
    ]
    return "\n".join(lines).rstrip() + "\n"


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
