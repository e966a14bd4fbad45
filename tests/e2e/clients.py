"""The real clients, and the chains that they pay on, as npm has them; run it to install them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODE_SOURCES = Path(__file__).parent / "node"


class NodeError(AssertionError):
    """A program of Node's failed; the text is what it said."""


@cache
def node_modules() -> Path:
    """The folder with the real clients, and the chains that they pay on, as npm has them."""
    modules = ROOT / "build" / "node"
    modules.mkdir(parents=True, exist_ok=True)
    wanted = (NODE_SOURCES / "package.json").read_text()
    installed = modules / "package.json"
    if not (modules / "node_modules").is_dir() or installed.read_text() != wanted:
        installed.write_text(wanted)
        # Their authors ask for releases of viem that exclude one another; one of them serves all.
        words = ("--no-audit", "--no-fund", "--no-package-lock", "--legacy-peer-deps")
        node_tool("npm", "install", *words, cwd=modules)
    return modules


def node_tool(tool: str, *arguments: str, cwd: Path, timeout_s: int = 300) -> str:
    """The machine's own Node, or the one from PyPI that `make e2e` installs where there is none."""
    beside = Path(sys.executable).parent
    done = subprocess.run(
        [shutil.which(tool) or str(beside / tool), *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": f"{os.environ['PATH']}{os.pathsep}{beside}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise NodeError(f"{tool} {' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    print(node_modules())
