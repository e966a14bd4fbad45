// What the x402 project's own listing reads in our challenges.
// Arguments: gateway URL. Prints one JSON object.
import { decodePaymentRequiredHeader } from "@x402/core/http";
import {
  extractDiscoveryInfoFromExtension,
  isValidServiceName,
  validateDiscoveryExtension,
  validateDiscoveryExtensionSpec,
} from "@x402/extensions/bazaar";

const [gatewayUrl] = process.argv.slice(2);
const bodies = {
  "/v1/credits/purchase": {
    wallet_address: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    wallet_chain: "evm",
    amount_usd: 1,
  },
  "/v1/session": { minutes: 5, language: "en" },
};
const told = {};
for (const [path, body] of Object.entries(bodies)) {
  const reply = await fetch(gatewayUrl + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const header = reply.headers.get("PAYMENT-REQUIRED");
  const required = decodePaymentRequiredHeader(header);
  const extension = required.extensions.bazaar;
  const info = extractDiscoveryInfoFromExtension(extension);
  // As a crawler goes on: the example is sent as it stands.
  const tried = await fetch(gatewayUrl + path, {
    method: info.input.method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(info.input.body),
  });
  told[path] = {
    status: reply.status,
    length: header.length,
    valid: validateDiscoveryExtension(extension),
    toSpec: validateDiscoveryExtensionSpec(extension),
    named: isValidServiceName(required.resource.serviceName),
    method: info.input.method,
    tried: tried.status,
  };
}
console.log(JSON.stringify(told));
