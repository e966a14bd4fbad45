// SPDX-License-Identifier: Apache-2.0
// A contract wallet for tests (ERC-1271): it approves what its owner signed, and runs bundles.
// Compiled with solc 0.8.37 into smart_wallet.hex; tests/e2e/test_sandbox_token.py compares.
pragma solidity 0.8.37;

contract SmartWallet {
    address public owner;

    function adopt(address owner_) external {
        require(owner == address(0), "adopted");
        owner = owner_;
    }

    // The owner's 65 bytes and one more, so that nobody takes it for a plain signature.
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        require(signature.length == 66, "length");
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        return ecrecover(digest, uint8(signature[64]), r, s) == owner ? this.isValidSignature.selector : bytes4(0);
    }

    function run(address target, bytes[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; i++) {
            (bool ok,) = target.call(calls[i]);
            require(ok, "call failed");
        }
    }
}
