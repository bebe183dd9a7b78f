"""What ctx and batch cost on this machine: the same as ``fovea bench context``, as a script.

python -m bench.context --model pocket --ctx 512,1024,2048 --batch-size 32,128,512 --out context
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tui.commands.bench_context import context


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; figures go to OUT.json and OUT.png."""
    context.main(args=list(sys.argv[1:] if argv is None else argv), prog_name="bench.context", standalone_mode=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
