"""Run mypy over all packages, and hold every backend to the protocols. Usage: python tools/check_types.py [mypy options]"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import link_tree


def protocols() -> str:
    """A program that has a type only if every backend satisfies `Backend` and every harness `Harness`.

    Those of a backend with a timing.py are timed too.
    """
    lines = ["from multiact.protocols import Backend, Harness, Timed"]
    for adapter in sorted((link_tree.ROOT / "backends").glob("*/adapter.py")):
        name = adapter.parent.name
        lines.append(f"from multiact.backends.{name}.adapter import backend as {name}_backend")
        lines.append(f"_{name}_backend: Backend = {name}_backend")
        kind = "Timed" if adapter.with_name("timing.py").exists() else "Harness"
        lines.append(f"from multiact.backends.{name}.harness import harness as {name}_harness")
        lines.append(f"_{name}_harness: {kind} = {name}_harness")
    return "\n".join(lines) + "\n"


with tempfile.TemporaryDirectory() as folder:
    tree = link_tree.make(Path(folder))
    (tree / "protocols_hold.py").write_text(protocols())
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(link_tree.ROOT / ".mypy_cache")]
    command += ["--config-file", str(link_tree.ROOT / "pyproject.toml"), "--package", "multiact"]
    command += ["--module", "protocols_hold", *sys.argv[1:]]
    done = subprocess.run(command, cwd=tree, check=False, env={**os.environ, "MYPYPATH": str(tree)})
sys.exit(done.returncode)
