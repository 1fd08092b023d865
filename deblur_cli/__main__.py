"""`python -m deblur_cli` is `deblur`."""

import sys

from deblur_cli.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
