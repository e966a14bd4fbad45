// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

interface IToken {
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// The sandbox's PaymentPermit: the interface, the typed data and the events of the one on TRON,
/// written anew. A buyer's signature moves a payment and a fee, once, when its caller brings it.
contract SandboxPermit {
    struct PermitMeta {
        uint8 kind;
        bytes16 paymentId;
        uint256 nonce;
        uint256 validAfter;
        uint256 validBefore;
    }

    struct Payment {
        address payToken;
        uint256 payAmount;
        address payTo;
    }

    struct Fee {
        address feeTo;
        uint256 feeAmount;
    }

    struct PaymentPermitDetails {
        PermitMeta meta;
        address buyer;
        address caller;
        Payment payment;
        Fee fee;
    }

    event PermitTransfer(
        address indexed buyer,
        bytes16 indexed paymentId,
        address indexed payToken,
        address payTo,
        uint256 amount
    );

    error InvalidTimestamp();
    error InvalidCaller();
    error InvalidSignature();
    error NonceAlreadyUsed();
    error InvalidKind();
    error BuyerMismatch();

    bytes private constant META =
        "PermitMeta(uint8 kind,bytes16 paymentId,uint256 nonce,uint256 validAfter,uint256 validBefore)";
    bytes private constant PAYMENT = "Payment(address payToken,uint256 payAmount,address payTo)";
    bytes private constant FEE = "Fee(address feeTo,uint256 feeAmount)";

    /// A bit a nonce, 256 to a word.
    mapping(address owner => mapping(uint256 word => uint256 bits)) public nonceBitmap;

    function permitTransferFrom(
        PaymentPermitDetails calldata permit,
        address owner,
        bytes calldata signature
    ) external {
        if (owner != permit.buyer) revert BuyerMismatch();
        if (permit.meta.kind != 0) revert InvalidKind();
        if (block.timestamp < permit.meta.validAfter) revert InvalidTimestamp();
        if (block.timestamp > permit.meta.validBefore) revert InvalidTimestamp();
        if (msg.sender != permit.caller) revert InvalidCaller();
        if (nonceUsed(owner, permit.meta.nonce)) revert NonceAlreadyUsed();
        nonceBitmap[owner][permit.meta.nonce >> 8] |= 1 << (permit.meta.nonce & 0xff);
        if (!signedBy(owner, digestOf(permit), signature)) revert InvalidSignature();

        move(permit.payment.payToken, owner, permit.payment.payTo, permit.payment.payAmount);
        if (permit.fee.feeAmount > 0) {
            move(permit.payment.payToken, owner, permit.fee.feeTo, permit.fee.feeAmount);
        }
        emit PermitTransfer(
            owner,
            permit.meta.paymentId,
            permit.payment.payToken,
            permit.payment.payTo,
            permit.payment.payAmount
        );
    }

    function nonceUsed(address owner, uint256 nonce) public view returns (bool) {
        return (nonceBitmap[owner][nonce >> 8] >> (nonce & 0xff)) & 1 == 1;
    }

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("PaymentPermit"),
                block.chainid,
                address(this)
            )
        );
    }

    function digestOf(PaymentPermitDetails calldata permit) private view returns (bytes32) {
        bytes32 details = keccak256(
            abi.encode(
                keccak256(
                    abi.encodePacked(
                        "PaymentPermitDetails(PermitMeta meta,address buyer,address caller,Payment payment,Fee fee)",
                        FEE,
                        PAYMENT,
                        META
                    )
                ),
                keccak256(abi.encode(keccak256(META), permit.meta)),
                permit.buyer,
                permit.caller,
                keccak256(abi.encode(keccak256(PAYMENT), permit.payment)),
                keccak256(abi.encode(keccak256(FEE), permit.fee))
            )
        );
        return keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR(), details));
    }

    function signedBy(address owner, bytes32 digest, bytes calldata signature)
        private
        pure
        returns (bool)
    {
        if (signature.length != 65) return false;
        address signer = ecrecover(
            digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64])
        );
        return signer != address(0) && signer == owner;
    }

    function move(address token, address from, address to, uint256 amount) private {
        require(IToken(token).transferFrom(from, to, amount), "TRANSFER_FAILED");
    }
}
