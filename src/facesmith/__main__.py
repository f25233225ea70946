"""``python -m facesmith``."""

import sys

from facesmith.cli import main

if __name__ == "__main__":
    sys.exit(main())
