// The official verifiers of signed offers and receipts upon a purchase of the real client.
// Arguments: gateway URL, private key (throwaway). Prints one JSON object.
import { DtelecomGateway } from "@dtelecom/x402-client";
import { decodePaymentRequiredHeader } from "@x402/core/http";
import {
  decodeSignedOffers,
  extractOffersFromPaymentRequired,
  extractReceiptFromResponse,
  findAcceptsObjectFromSignedOffer,
  verifyOfferSignatureJWS,
  verifyReceiptMatchesOffer,
  verifyReceiptSignatureJWS,
} from "@x402/extensions/offer-receipt";
import { privateKeyToAccount } from "viem/accounts";

const [gatewayUrl, privateKey] = process.argv.slice(2);
const account = privateKeyToAccount(privateKey);

// What the client sees goes by here; it is not told anything else.
const passed = [];
const fetched = globalThis.fetch;
globalThis.fetch = async (...request) => {
  const response = await fetched(...request);
  passed.push(response.clone());
  return response;
};
const bought = await new DtelecomGateway({ gatewayUrl, account }).buyCredits({ amountUsd: 0.1 });
globalThis.fetch = fetched;

const [asked, answered] = passed;
const required = decodePaymentRequiredHeader(asked.headers.get("PAYMENT-REQUIRED"));
const offers = extractOffersFromPaymentRequired(required);
const [offer] = decodeSignedOffers(offers);
const receipt = extractReceiptFromResponse(answered);

// A text of another length is no signature at all: one letter of each part becomes another.
async function fails(verify, signed) {
  const parts = signed.signature.split(".");
  for (const at of parts.keys()) {
    const other = [...parts];
    const middle = other[at].length >> 1;
    const letter = other[at][middle] === "A" ? "B" : "A";
    other[at] = other[at].slice(0, middle) + letter + other[at].slice(middle + 1);
    const held = await verify({ ...signed, signature: other.join(".") }).then(() => true, () => false);
    if (held) return false;
  }
  return true;
}

console.log(
  JSON.stringify({
    bought,
    statuses: passed.map((response) => response.status),
    offers: offers.length,
    accepts: required.accepts,
    offered: await verifyOfferSignatureJWS(offers[0]),
    offer_is_of_the_terms: findAcceptsObjectFromSignedOffer(offer, required.accepts) === required.accepts[0],
    signed_offer: offers[0],
    received: await verifyReceiptSignatureJWS(receipt),
    receipt_is_of_the_offer: verifyReceiptMatchesOffer(receipt, offer, [account.address]),
    signed_receipt: receipt,
    forgeries_fail: (await fails(verifyOfferSignatureJWS, offers[0])) && (await fails(verifyReceiptSignatureJWS, receipt)),
  }),
);
