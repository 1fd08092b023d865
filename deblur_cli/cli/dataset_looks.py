"""What `deblur make-dataset` shows instead of making: presets, operations, pairs made again, pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from deblur_cli.cli import console

if TYPE_CHECKING:
    from deblur_cli.host.manager import Host


def list_presets(host: "Host", *, json: bool) -> int:
    """Print the presets. Returns the exit code, as all of these do."""
    from deblur_cli.blur.spec_file import preset, preset_names, preset_summary

    found = [(preset(name, host.degradations), preset_summary(name)) for name in preset_names()]
    if json:
        for spec, summary in found:
            console.json_line({"name": spec.name, "source": spec.source.value, "summary": summary})
    else:
        console.table(
            ("preset", "source", "what"), [(spec.name, spec.source.value, text) for spec, text in found]
        )
    return 0


def show_preset(name: str) -> int:
    """Print a preset as it stands in its file."""
    from deblur_cli.blur.spec_file import preset_text

    console.result(preset_text(name).rstrip("\n"))
    return 0


def describe(host: "Host", name: str, *, json: bool) -> int:
    """Print what an operation takes."""
    from dataclasses import asdict

    from deblur_cli.blur.describe import describe_operation

    operation = host.degradation(name)
    rows = describe_operation(operation)
    if json:
        console.json_line(
            {
                "name": operation.name,
                "summary": operation.summary,
                "parameters": [asdict(row) for row in rows],
            }
        )
        return 0
    console.result(f"{operation.name}: {operation.summary}")
    if rows:
        cells = [list(asdict(row).values()) for row in rows]
        console.table(list(asdict(rows[0])), cells)
    return 0


def verify(
    host: "Host", out: Path, *, source: Path | None, only: list[str], sample: int, mend: bool, json: bool
) -> int:
    """Make pairs of a set again; 3 where one differs."""
    from deblur_cli.data.verifying import verify as make_again

    with console.steps("making pairs again") as report:
        found = make_again(
            out,
            host.degradations,
            source=source,
            only=only,
            sample=sample or None,
            mend=mend,
            progress=report,
        )
    for change in found.versions:
        console.warn(f"{out} was made with {change}: equal bytes are promised for equal versions only")
    if json:
        console.json_line(
            {
                "checked": found.checked,
                "different": found.different,
                "mended": found.mended,
                "versions": found.versions,
            }
        )
    else:
        for name, problem in found.different.items():
            console.result(f"{name}: {problem}")
        differing = found.different.keys() - {"meta.jsonl"}
        mended = f", {found.mended} files written again" if found.mended else ""
        console.result(f"{out}: {found.checked} pairs made again, {len(differing)} differ{mended}")
    return 3 if found.different else 0


def strip(host: "Host", source: Path, target: Path, *, overwrite: bool) -> int:
    """Draw the first picture of a source under growing blur; never over a picture that is there already, unasked."""
    from deblur_cli.blur.spec_file import preset
    from deblur_cli.data.sources import open_source
    from deblur_cli.data.strip import draw_strip
    from deblur_cli.errors import UsageError
    from deblur_cli.pictures.atomic import refuse_input_as_output
    from deblur_cli.pictures.scaling import from_integers, to_8_bit

    if target.suffix.lower() != ".png":
        raise UsageError(f"--strip {target}: the strip is a PNG file, so give it a name that ends in .png")
    if target.is_file() and not overwrite:
        raise UsageError(f"{target} exists already; replace it with --overwrite, or choose another name")
    refuse_input_as_output(source, target)
    found = open_source(source, preset("gaussian", host.degradations), host)
    picture = found.opener.open(found.items(0, 1)[0]).sharp
    draw_strip(to_8_bit(from_integers(picture)), (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0), target)
    console.result(str(target))
    return 0


def sheet(host: "Host", out: Path, count: int) -> int:
    """Draw pairs of a set with their kernels."""
    from deblur_cli.data.contact_sheet import draw_contact_sheet

    target = out / "contact-sheet.png"
    drawn = draw_contact_sheet(out, count=count, target=target, operations=host.degradations)
    console.note(f"{drawn} {'pair' if drawn == 1 else 'pairs'} with kernels: {target}")
    return 0
