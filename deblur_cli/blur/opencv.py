"""The one place that imports OpenCV, which needs a system library that slim containers lack."""

from functools import cache
from types import ModuleType

from deblur_cli.errors import MissingError


@cache
def import_opencv() -> ModuleType:
    """The module cv2.

    Raises
    ------
    MissingError : OpenCV or the system's libGL is not there, or OpenCV is older than 5
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingError(
            f"cannot load OpenCV ({error}); either apt-get install libgl1, or pip uninstall opencv-python and then "
            "pip install opencv-python-headless"
        ) from error
    if int(cv2.__version__.partition(".")[0]) < 5:
        # Version 4 rounds the coordinates of its warps to 1/32 px.
        raise MissingError(
            f"OpenCV {cv2.__version__} is too old: blur needs 5 or newer; pip install 'opencv-python>=5'"
        )
    module: ModuleType = cv2
    return module
