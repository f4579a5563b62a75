"""What reads records is light: no torch, no runner, no site."""

from __future__ import annotations

import subprocess
import sys

MODULES = "command document errors export files identity measure schema store table traces upgrade"
HEAVY = "torch transformers lm_eval datasets hydra leanboard.runners leanboard.leaderboard"


def test_importing_results_loads_nothing_heavy() -> None:
    imports = "; ".join(f"import leanboard.results.{name}" for name in [*MODULES.split(), "verify"])
    check = f"import sys; {imports}; print([m for m in '{HEAVY}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
