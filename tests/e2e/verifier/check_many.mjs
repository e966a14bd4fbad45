// Checks many bills in one process: node check_many.mjs VERIFIER BILLS KEY, where BILLS has one
// file a line in base64; prints one JSON line for each.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [verifier, bills, key] = process.argv.slice(2);
const { AuditError, parseBill, verifyBill } = await import(pathToFileURL(verifier));

for (const line of readFileSync(bills, "ascii").trimEnd().split("\n")) {
  let answer;
  try {
    const found = await verifyBill(parseBill(Buffer.from(line, "base64")), { trusted: key });
    answer = { verified: true, charged: String(found.charged), events: found.events };
  } catch (broken) {
    if (!(broken instanceof AuditError)) throw broken;
    answer = { verified: false, where: broken.where, message: broken.message };
  }
  console.log(JSON.stringify(answer));
}
