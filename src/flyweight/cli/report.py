"""``flyweight report``: a run told anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def report(options: Any) -> int:
    """Makes the report anew from the points' JSON, and prints the table."""
    from flyweight.core.frontier import Frontier
    from flyweight.report.table import text

    found = Frontier.load(options.folder)
    path = found.report(Path(options.out) if options.out else Path(options.folder) / "report.html")
    if options.json:
        print(json.dumps(found.to_json()))
        return 0
    print(text(found))
    print(f"\nreport: {path}")
    return 0
