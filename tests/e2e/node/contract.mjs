// The real client against a gateway: every method, with every property it reads traced.
// Arguments: gateway URL, chain (evm, solana), private key (throwaway), --solana=URL of a node.
// Prints one JSON object.
import "./solana_fetch.mjs";
import { DtelecomGateway } from "@dtelecom/x402-client";
import { createKeyPairSignerFromBytes, getBase58Decoder, getBase58Encoder } from "@solana/kit";
import { privateKeyToAccount } from "viem/accounts";

const [gatewayUrl, chain, privateKey] = process.argv.slice(2);
const missing = [];
const wrong = [];
const read = {};

// Optional parts of an extension are asked for with `if`, so their absence is no gap.
const OPTIONAL = new Set(["webrtc.client", "webrtc.agent", "webrtc", "stt", "tts"]);
const AMOUNT = /(microcredits|_balance|balance_after|(^|\.)amount)$/;
const TIME = /_at$/;

// What applications do with the values: BigInt() and new Date().
function check(name, value) {
  if (value === null) return;
  try {
    if (AMOUNT.test(name) && (typeof value !== "string" || String(BigInt(value)) !== value)) throw value;
    if (TIME.test(name) && (Number.isNaN(Date.parse(value)) || !value.endsWith("Z"))) throw value;
  } catch {
    wrong.push(`${route}: ${name} is ${JSON.stringify(value)}`);
  }
}

function traced(value, path) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, name) {
      const inner = target[name];
      if (typeof name === "symbol" || name === "then" || typeof inner === "function") return inner;
      const here = path ? `${path}.${name}` : String(name);
      if (inner === undefined && !OPTIONAL.has(here)) missing.push(`${route}: ${here}`);
      if (!/(^|\.)(length|\d+)$/.test(here)) (read[route] ??= new Set()).add(here.replace(/\.\d+/g, "[]"));
      check(here, inner);
      return traced(inner, here);
    },
  });
}

let route = "";
const json = Response.prototype.json;
Response.prototype.json = async function () {
  const body = await json.call(this);
  return new URL(this.url).pathname.startsWith("/v1/") ? traced(body, "") : body;
};

// The client wants base58 texts of a signer, where those of today give bytes.
async function solanaSigner(secret) {
  const signer = await createKeyPairSignerFromBytes(new Uint8Array(getBase58Encoder().encode(secret)));
  const text = (signed) =>
    Object.fromEntries(Object.entries(signed).map(([who, bytes]) => [who, getBase58Decoder().decode(bytes)]));
  return {
    address: signer.address,
    signMessages: async (messages) => (await signer.signMessages(messages)).map(text),
    signTransactions: (transactions) => signer.signTransactions(transactions),
  };
}

const wallet =
  chain === "evm"
    ? { account: privateKeyToAccount(privateKey) }
    : { solanaAccount: await solanaSigner(privateKey) };
const gateway = new DtelecomGateway({ gatewayUrl: `${gatewayUrl}//`, ...wallet });
const answers = {};
async function ask(name, call) {
  route = name;
  answers[name] = JSON.parse(JSON.stringify(await call()));
  return answers[name];
}

const errors = {};
async function refused(name, call) {
  route = name;
  try {
    await call();
    errors[name] = null;
  } catch (error) {
    const own = error.constructor.name;
    errors[name] = { name: error.name, own, status: error.status, message: error.message, service: error.service };
  }
}

const room = { roomName: "room-1", durationMinutes: 1 };
await refused("newcomer", () => gateway.getAccount());
await ask("buyCredits", () => gateway.buyCredits({ amountUsd: 0.1 }));
await ask("buyMore", () => gateway.buyCredits({ amountUsd: 1.0 }));
await ask("getAccount", () => gateway.getAccount());
const stt = await ask("createSTT", () => gateway.createSTTSession({ durationMinutes: 1, language: "en" }));
await ask("extendSTT", () => gateway.extendSTTSession({ sessionId: stt.sessionId, additionalMinutes: 1 }));
const tts = await ask("createTTS", () => gateway.createTTSSession({ maxCharacters: 500, language: "es" }));
await ask("extendTTS", () => gateway.extendTTSSession({ sessionId: tts.sessionId, additionalCharacters: 500 }));
const rtc = await ask("createWebRTC", () =>
  gateway.createWebRTCToken({ ...room, participantIdentity: "solo", metadata: "{}", clientIp: "127.0.0.1" }),
);
await ask("extendWebRTC", () => gateway.extendWebRTCToken({ sessionId: rtc.sessionId, additionalMinutes: 2 }));
// As the demo application asks: 16 minutes, a person's name, its own loopback, no characters.
const tutor = {
  roomName: "tutor",
  participantIdentity: "agent",
  clientIdentity: "Zoë Ångström 学生",
  durationMinutes: 16,
  language: "ja",
  clientIp: "127.0.0.1",
};
const agent = await ask("createAgent", () => gateway.createAgentSession(tutor));
await ask("extendAgent", () =>
  gateway.extendAgentSession({ bundleId: agent.bundleId, additionalMinutes: 1, additionalTtsCharacters: 100 }),
);
// Two calls of one path within the same second carry the same signature; both must work.
await ask("twins", () => Promise.all([gateway.getAccount(), gateway.getAccount()]));
await ask("twinSessions", () =>
  Promise.all([1, 2].map(() => gateway.createSTTSession({ durationMinutes: 0.01 }))),
);
await ask("getTransactions", () => gateway.getTransactions({ limit: 20, offset: 0 }));
await ask("getSessions", () => gateway.getSessions({ limit: 20, offset: 0, status: "active" }));
await ask("page", () => gateway.getSessions({ limit: 2, offset: 1 }));
await ask("bare", () => gateway.getTransactions());

await refused("poor", () => gateway.createSTTSession({ durationMinutes: 1440 }));
await refused("foreign", () =>
  gateway.extendSTTSession({ sessionId: "00000000-0000-4000-8000-000000000000", additionalMinutes: 1 }),
);
await refused("invalid", () => gateway.createSTTSession({ durationMinutes: -1 }));
await refused("badStatus", () => gateway.getSessions({ status: "asleep" }));
await refused("badLimit", () => gateway.getTransactions({ limit: 0 }));
await refused("badOffset", () => gateway.getTransactions({ offset: -1 }));
await refused("tooSmall", () => gateway.buyCredits({ amountUsd: 0.01 }));
await refused("tooLarge", () => gateway.buyCredits({ amountUsd: 1.01 }));

const reads = Object.fromEntries(Object.entries(read).map(([name, names]) => [name, [...names].sort()]));
console.log(JSON.stringify({ answers, missing, wrong, reads, errors }));
