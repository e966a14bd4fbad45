"""The few methods of a TRON node's JSON-RPC that readers need: which chain, and its events."""

from __future__ import annotations

from adapters.sandbox.tron_chain import CHAIN_ID, SandboxTron, TronLog
from adapters.sandbox.tron_transactions import account_of


def rpc_answer(chain: SandboxTron, body: dict[str, object]) -> dict[str, object]:
    """The answer to one call; one that cannot be read is refused as JSON-RPC refuses."""
    given = body.get("params")
    params = given if isinstance(given, list) else []
    reply: dict[str, object] = {"jsonrpc": "2.0", "id": body.get("id")}
    try:
        match body.get("method"):
            case "eth_chainId":
                return reply | {"result": hex(CHAIN_ID)}
            case "eth_blockNumber":
                return reply | {"result": hex(chain.head)}
            case "eth_getLogs":
                return reply | {"result": _logs(chain, params[0])}
            case method:
                said = f"the sandbox node does not answer {str(method)[:80]}"
                return reply | {"error": {"code": -32601, "message": said}}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return reply | {"error": {"code": -32602, "message": f"{type(error).__name__}: {error}"}}


def _logs(chain: SandboxTron, wanted: dict[str, object]) -> list[dict[str, object]]:
    first, last = (int(str(wanted[end]), 16) for end in ("fromBlock", "toBlock"))
    address = account_of(wanted["address"])
    given = wanted.get("topics")
    topics = given if isinstance(given, list) else []
    return [
        {
            "address": f"0x{log.address.hex()}",
            "topics": _topics(log),
            "data": f"0x{log.data.hex()}",
            "blockNumber": hex(mined.block),
            "transactionHash": f"0x{mined.id}",
            "logIndex": hex(index),
        }
        for mined in chain.between(first, last)
        for index, log in enumerate(mined.logs)
        if log.address == address and _fits(log, topics)
    ]


def _fits(log: TronLog, topics: list[object]) -> bool:
    """Whether a log has these topics first; None stands for any."""
    own = _topics(log)
    pairs = zip(topics, own, strict=False)
    return len(topics) <= len(own) and all(topic in (None, mine) for topic, mine in pairs)


def _topics(log: TronLog) -> list[str]:
    return [f"0x{topic.hex()}" for topic in log.topics]
