"""Reading and writing picture files so that nothing is lost without a word.

Read picture -> (H, W, C) array and what came with it; write array -> file, whole or not at all. Importing this
package imports neither torch nor numpy nor Pillow; the names below are fetched when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblur_cli.pictures.atomic import (
        atomic_write,
        refuse_input_as_output,
        require_folder,
        require_writable,
    )
    from deblur_cli.pictures.listing import Listed, list_pictures
    from deblur_cli.pictures.naming import default_output
    from deblur_cli.pictures.picture import Kept, Origin, Picture
    from deblur_cli.pictures.reading import MAX_PIXELS, read_picture
    from deblur_cli.pictures.writing import write_picture

__all__ = [
    "MAX_PIXELS",
    "Kept",
    "Listed",
    "Origin",
    "Picture",
    "atomic_write",
    "default_output",
    "list_pictures",
    "read_picture",
    "refuse_input_as_output",
    "require_folder",
    "require_writable",
    "write_picture",
]

_HOME = {
    "MAX_PIXELS": "reading",
    "Kept": "picture",
    "Listed": "listing",
    "Origin": "picture",
    "Picture": "picture",
    "atomic_write": "atomic",
    "default_output": "naming",
    "list_pictures": "listing",
    "read_picture": "reading",
    "refuse_input_as_output": "atomic",
    "require_folder": "atomic",
    "require_writable": "atomic",
    "write_picture": "writing",
}


def __getattr__(name: str) -> Any:  # `Any`: each name keeps the type that TYPE_CHECKING shows above
    """Import the module that holds `name` when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'deblur_cli.pictures' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"deblur_cli.pictures.{_HOME[name]}"), name)
