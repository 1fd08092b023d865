"""What the commands say: results on stdout, everything else on stderr."""

import json
import sys


def result(text: str) -> None:
    """Print a result."""
    print(text)


def note(text: str) -> None:
    """Say something that is not a result."""
    print(text, file=sys.stderr)


def json_line(value: object) -> None:
    """Print one JSON object on one line."""
    print(json.dumps(value), flush=True)
