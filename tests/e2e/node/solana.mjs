// Two real clients buy on Solana: the dTelecom client, and the x402 project's own fetch.
// Arguments: gateway URL, key pair in base58 (throwaway), --solana=URL of a node. Prints one JSON object.
import "./solana_fetch.mjs";
import { DtelecomGateway } from "@dtelecom/x402-client";
import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";

const [gatewayUrl, secret, node] = process.argv.slice(2);
const signer = await createKeyPairSignerFromBytes(new Uint8Array(getBase58Encoder().encode(secret)));
const gateway = new DtelecomGateway({ gatewayUrl, solanaAccount: signer });

const told = {};
told.dime = await gateway.buyCredits({ amountUsd: 0.1 });
told.dollar = await gateway.buyCredits({ amountUsd: 1.0 });
try {
  await gateway.buyCredits({ amountUsd: 1.01 });
} catch (error) {
  told.more = { name: error.constructor.name, message: error.message };
}

const rpcUrl = node.slice("--solana=".length);
const client = new x402Client().register("solana:*", new ExactSvmScheme(signer, { rpcUrl }));
const pay = wrapFetchWithPayment(fetch, client);
const reply = await pay(`${gatewayUrl}/v1/credits/purchase`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ wallet_address: signer.address, wallet_chain: "solana", amount_usd: 0.25 }),
});
told.fetch = {
  status: reply.status,
  body: await reply.json(),
  receipt: decodePaymentResponseHeader(reply.headers.get("PAYMENT-RESPONSE")),
};
console.log(JSON.stringify(told));
