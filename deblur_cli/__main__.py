"""`python -m deblur_cli` is `deblur`."""

import os
import sys

from deblur_cli.cli.app import main

if __name__ == "__main__":
    code = main()
    # One of several processes: threads that PyTorch leaves may abort it on its way out, though all is done.
    if "TORCHELASTIC_RUN_ID" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
