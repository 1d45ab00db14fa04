"""`python -m foreact` is `foreact`."""

import sys

from foreact.cli.main import run

if __name__ == "__main__":
    sys.exit(run())
