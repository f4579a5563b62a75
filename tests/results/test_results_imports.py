"""What reads records is light: no torch, no runner, no site."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from leanboard import results

HEAVY = "torch transformers lm_eval datasets hydra leanboard.runners leanboard.leaderboard"


def test_importing_results_loads_nothing_heavy() -> None:
    names = sorted(path.stem for path in Path(results.__path__[0]).glob("[a-z]*.py"))
    assert {"export", "store", "table", "verify"} <= set(names)
    imports = "; ".join(f"import leanboard.results.{name}" for name in names)
    check = f"import sys; {imports}; print([m for m in '{HEAVY}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
