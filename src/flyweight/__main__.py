"""``python -m flyweight``."""

from __future__ import annotations

import sys

from flyweight.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
