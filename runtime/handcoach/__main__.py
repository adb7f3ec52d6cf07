"""`python -m handcoach` is the command `handcoach`."""

import sys

from handcoach.cli import main

if __name__ == "__main__":
    sys.exit(main())
