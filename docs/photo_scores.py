"""The tables of what the weights for photographs gain, in README.md and docs/photo-weights.md, from the records that are kept.

python docs/photo_scores.py        rewrites what stands between the marks; `make docs` calls it
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deblur_cli.evaluation.results import newest, read_records

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "weights" / "records"
BEGIN, END = "<!-- scores: make docs -->\n", "<!-- end of scores -->"

WORDS = {
    "gopro-full": "GoPro: real motion (5 frames)",
    "reds-full": "REDS: real motion (1)",
    "reds_x4-full": "REDS reduced four times (3)",
    "gopro-jpeg75": "GoPro, then JPEG of quality 75",
    "gopro-noise5": "GoPro, then noise of 5/255",
    "kodak-shake": "Kodak: camera shake of 2 to 4 px (24)",
    "kodak-shake-jpeg75": "the same, then JPEG of quality 75",
    "kodak-shake-noise5": "the same, then noise of 5/255",
    "kodak-trajectory": "Kodak: moved along a path (24)",
    "kodak-defocus": "Kodak: out of focus by 1 to 4 px (24)",
    "kodak-gaussian": "Kodak: Gaussian of sigma 1.5 px (24)",
    "kodak-identity": "Kodak: sharp already (24)",
}
SHORT = ("gopro-full", "reds-full", "gopro-noise5", "kodak-shake", "kodak-gaussian", "kodak-identity")

Record = Mapping[str, Any]  # a JSON object


def records() -> list[Record]:
    """All that are kept."""
    found, _ = read_records([RECORDS])
    return list(newest(found)[0])


def table(kept: Sequence[Record], protocols: Sequence[str]) -> str:
    """Rows are protocols, columns models: PSNR in dB and SSIM of the blurred pictures, and what restoring changes."""
    models = sorted({record["model"] for record in kept})
    cells = {(record["protocol"]["name"], record["model"]): record for record in kept}
    lines = ["| | blurred | " + " | ".join(models) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(models))
    for protocol in protocols:
        first = cells[protocol, models[0]]
        row = [WORDS[protocol], _blurred(first), *(_gain(cells[protocol, model]) for model in models)]
        lines.append(f"| {' | '.join(row)} |")
    seconds = [cells["gopro-full", model]["seconds_per_picture"] for model in models]
    lines.append(f"| seconds for 1280x720 px | | {' | '.join(f'{value:.2f}' for value in seconds)} |")
    return "\n".join(lines) + "\n"


def _blurred(record: Record) -> str:
    psnr = record["blurry"]["psnr"]
    return "identical" if psnr is None else f"{psnr:.2f} / {record['blurry']['ssim']:.3f}"


def _gain(record: Record) -> str:
    psnr = record["gain"]["psnr"]
    if psnr is None:
        return f"{record['restored']['psnr']:.2f} dB"
    return f"{psnr:+.2f} / {record['gain']['ssim']:+.3f}"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with its table as it must be."""
    kept = records()
    for path, protocols in ((ROOT / "README.md", SHORT), (ROOT / "docs" / "photo-weights.md", tuple(WORDS))):
        text = path.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        yield path, f"{before}{BEGIN}\n{table(kept, protocols)}\n{END}{after}"


def main() -> None:
    """Write both."""
    for path, text in pages():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
