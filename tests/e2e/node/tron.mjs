// A TRON wallet buys credit with the real client and spends it with calls that TronWeb signs.
// Arguments: gateway, its TRON node, private key (64 hex digits), dollars. Last line: JSON.
import { TronSigner } from "@bankofai/agent-wallet";
import { ExactPermitTronClientMechanism, TronClientSigner, X402Client, X402FetchClient, getTronRpcUrl } from "@bankofai/x402";
import { TronWeb } from "tronweb";

const [gatewayUrl, nodeUrl, privateKey, dollars] = process.argv.slice(2);
const NETWORK = "tron:mainnet";

const wallet = new TronSigner(Buffer.from(privateKey, "hex"));
const address = await wallet.getAddress();
const tronWeb = new TronWeb({ fullHost: nodeUrl, privateKey });
const signer = new TronClientSigner(wallet);
signer.setAddress(address);
// The client knows only the real network's node.
signer.tronWebInstances.set(getTronRpcUrl(NETWORK), tronWeb);
const client = new X402FetchClient(new X402Client().register("tron:*", new ExactPermitTronClientMechanism(signer)));

const bought = await client.post(`${gatewayUrl}/v1/credits/purchase/tron`, JSON.stringify({ amount_usd: Number(dollars) }), {
  headers: { "Content-Type": "application/json" },
});
const receipt = bought.headers.get("PAYMENT-RESPONSE");

async function call(method, path, body) {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = await tronWeb.trx.signMessageV2(`${method}\n${path}\n${timestamp}`, privateKey);
  const answer = await fetch(gatewayUrl + path, {
    method,
    headers: {
      "Content-Type": "application/json",
      Authorization: `tron:${signature}`,
      "X-Wallet-Address": address,
      "X-Wallet-Chain": "tron",
      "X-Timestamp": timestamp,
    },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json() };
}

const session = await call("POST", "/v1/tts/session", { max_characters: 1000 });
const account = await call("GET", "/v1/account");
console.log(
  JSON.stringify({
    address,
    bought: { status: bought.status, body: await bought.json(), receipt: receipt && JSON.parse(atob(receipt)) },
    session,
    account,
  }),
);
