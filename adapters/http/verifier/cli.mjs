// node cli.mjs FILE [--key NAME+HINT+KEY]...: check a bill with Node alone, no package needed.
// Of several keys, as of a log that changed its own, the one counts that the bill names.

import { readFile } from "node:fs/promises";
import { AuditError, UnableError, parseBill, verifyBill } from "./verify.mjs";

const options = process.argv.slice(2);
const keys = [];
for (let at = options.indexOf("--key"); at >= 0; at = options.indexOf("--key")) {
  keys.push(options.splice(at, 2)[1]);
}
if (options.length !== 1 || keys.includes(undefined)) {
  console.error("usage: node cli.mjs FILE [--key NAME+HINT+KEY]...");
  process.exit(2);
}
try {
  const bill = parseBill(await readFile(options[0]));
  const trusted = keys.find((key) => key === bill.evidence?.signer) ?? keys[0] ?? null;
  const found = await verifyBill(bill, { trusted });
  console.log(
    `VERIFIED session ${found.session}: charged ${found.charged} \u00b5cr, refunded ` +
      `${found.refunded} \u00b5cr, ${found.events} events in the signed log of ${found.size}`,
  );
  console.log(`signer ${found.signer}`);
  if (keys.length === 0) {
    console.log("compare the signer with the gateway's published key, or pass it with --key");
  }
} catch (broken) {
  const isExpected = broken instanceof AuditError || broken instanceof UnableError;
  if (!isExpected && broken.code === undefined) throw broken;
  console.error(`NOT VERIFIED ${broken.message}`);
  process.exit(1);
}
