"""The contracts' bytecode in the repository is what their sources compile to."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOLC = "solc@0.8.37"
CONTRACTS = (
    ROOT / "adapters" / "sandbox" / "usdc.sol",
    ROOT / "adapters" / "sandbox" / "tron_permit.sol",
    ROOT / "adapters" / "sandbox" / "tron_usdt.sol",
    ROOT / "tests" / "fakes" / "smart_wallet.sol",
)
# Standard input in, standard output out, as the compiler describes them.
COMPILE = """
const solc = require("solc");
process.stdout.write(solc.compile(require("fs").readFileSync(0, "utf8")));
"""


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which node finds the pinned compiler."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm and node are not here: the contracts cannot be rebuilt")
    folder = tmp_path_factory.mktemp("solc")
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), SOLC]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return folder


@pytest.mark.parametrize("source", CONTRACTS, ids=lambda path: path.stem)
def test_the_bytecode_is_compiled_from_its_source(compiler: Path, source: Path) -> None:
    request = {
        "language": "Solidity",
        "sources": {"contract.sol": {"content": source.read_text("utf-8")}},
        "settings": {
            "optimizer": {"enabled": True, "runs": 1},
            "evmVersion": "shanghai",
            # No metadata: the code depends on what it does, not on its comments.
            "metadata": {"bytecodeHash": "none", "appendCBOR": False},
            "outputSelection": {"*": {"*": ["evm.deployedBytecode.object"]}},
        },
    }

    compiled = subprocess.run(
        ["node", "-e", COMPILE],
        cwd=compiler,
        input=json.dumps(request),
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )

    answer = json.loads(compiled.stdout)
    assert "errors" not in answer
    built = [
        contract["evm"]["deployedBytecode"]["object"]
        for contract in answer["contracts"]["contract.sol"].values()
    ]
    assert source.with_suffix(".hex").read_text("ascii").strip() in built
