// Two real clients buy on Base: the dTelecom client, and the x402 project's own fetch.
// Arguments: gateway URL, private key (throwaway). Prints one JSON object.
import { DtelecomGateway } from "@dtelecom/x402-client";
import { registerExactEvmScheme } from "@x402/evm/exact/client";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";

const [gatewayUrl, privateKey] = process.argv.slice(2);
const account = privateKeyToAccount(privateKey);
const gateway = new DtelecomGateway({ gatewayUrl, account });

const told = {};
told.dime = await gateway.buyCredits({ amountUsd: 0.1 });
told.dollar = await gateway.buyCredits({ amountUsd: 1.0 });
try {
  await gateway.buyCredits({ amountUsd: 1.01 });
} catch (error) {
  told.more = { name: error.constructor.name, message: error.message };
}

const client = new x402Client();
registerExactEvmScheme(client, { signer: account });
const pay = wrapFetchWithPayment(fetch, client);
const reply = await pay(`${gatewayUrl}/v1/credits/purchase`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ wallet_address: account.address, wallet_chain: "evm", amount_usd: 0.25 }),
});
told.fetch = {
  status: reply.status,
  body: await reply.json(),
  receipt: decodePaymentResponseHeader(reply.headers.get("PAYMENT-RESPONSE")),
};
console.log(JSON.stringify(told));
