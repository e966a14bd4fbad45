// Both vendors' kits for room servers, asked what a file says. Prints one JSON list of answers.
// Argument: a file with {environ, asks: [{do, kit, ...}]}. Keys are throwaway.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import * as livekit from "livekit-server-sdk";

const require = createRequire(import.meta.url);
const { environ, asks } = JSON.parse(readFileSync(process.argv[2], "utf8"));
// dTelecom's kit reads these where it looks for nodes.
Object.assign(process.env, environ);
const dtelecom = require("@dtelecom/server-sdk-js");
const registry = require("@dtelecom/server-sdk-js/contract");
const kits = { dtelecom, livekit };
// It tells what went wrong there, where our answers go.
console.error = () => {};

const does = {
  verify: ({ kit, key, secret, token }) => new kits[kit].TokenVerifier(key, secret).verify(token),
  sign: async ({ kit, key, secret, options, grant, sha256 }) => {
    const token = new kits[kit].AccessToken(key, secret, options);
    if (grant) token.addGrant(grant);
    if (sha256) token.sha256 = sha256;
    return token.toJwt();
  },
  receive: async ({ kit, key, secret, body, token }) => {
    const event = await new kits[kit].WebhookReceiver(key, secret).receive(body, token);
    return kit === "livekit" ? event.toJson() : event;
  },
  participants: async ({ kit, key, secret, url, room }) => {
    const found = await new kits[kit].RoomServiceClient(url, key, secret).listParticipants(room);
    return found.map(({ identity, sid, metadata }) => ({ identity, sid, metadata }));
  },
  remove: async ({ kit, key, secret, url, room, identity }) => {
    await new kits[kit].RoomServiceClient(url, key, secret).removeParticipant(room, identity);
    return true;
  },
  nodes: () => registry.getAllNode(),
  node: ({ key }) => registry.getNodeByAddress(key),
  url: ({ key, secret }) => new dtelecom.AccessToken(key, secret).getWsUrl(),
};

const answers = [];
for (const ask of asks) {
  try {
    answers.push({ ok: (await does[ask.do](ask)) ?? null });
  } catch (error) {
    answers.push({ error: String(error?.message ?? error) });
  }
}
console.log(JSON.stringify(answers, (_, value) => (typeof value === "bigint" ? String(value) : value)));
