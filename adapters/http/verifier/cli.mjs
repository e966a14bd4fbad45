// node cli.mjs FILE [--key NAME+HINT+KEY]: check a bill with Node alone, no package needed.

import { readFile } from "node:fs/promises";
import { AuditError, UnableError, parseBill, verifyBill } from "./verify.mjs";

const options = process.argv.slice(2);
const keyAt = options.indexOf("--key");
const trusted = keyAt < 0 ? null : options.splice(keyAt, 2)[1];
if (options.length !== 1 || trusted === undefined) {
  console.error("usage: node cli.mjs FILE [--key NAME+HINT+KEY]");
  process.exit(2);
}
try {
  const found = await verifyBill(parseBill(await readFile(options[0])), { trusted });
  console.log(
    `VERIFIED session ${found.session}: charged ${found.charged} \u00b5cr, refunded ` +
      `${found.refunded} \u00b5cr, ${found.events} events in the signed log of ${found.size}`,
  );
  console.log(`signer ${found.signer}`);
  if (trusted === null) {
    console.log("compare the signer with the gateway's published key, or pass it with --key");
  }
} catch (broken) {
  const isExpected = broken instanceof AuditError || broken instanceof UnableError;
  if (!isExpected && broken.code === undefined) throw broken;
  console.error(`NOT VERIFIED ${broken.message}`);
  process.exit(1);
}
