// The real client against a gateway: every method, with every property it reads traced.
// Arguments: gateway URL, private key (throwaway). Prints one JSON object.
import { DtelecomGateway } from "@dtelecom/x402-client";
import { privateKeyToAccount } from "viem/accounts";

const [gatewayUrl, privateKey] = process.argv.slice(2);
const missing = [];

// Optional parts of an extension are asked for with `if`, so their absence is no gap.
const OPTIONAL = new Set(["webrtc.client", "webrtc.agent", "webrtc", "stt", "tts"]);

function traced(value, path) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, name) {
      const inner = target[name];
      if (typeof name === "symbol" || name === "then" || typeof inner === "function") return inner;
      const here = path ? `${path}.${name}` : String(name);
      if (inner === undefined && !OPTIONAL.has(here)) missing.push(here);
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

const gateway = new DtelecomGateway({ gatewayUrl, account: privateKeyToAccount(privateKey) });
const answers = {};
async function ask(name, call) {
  route = name;
  const before = missing.length;
  answers[name] = JSON.parse(JSON.stringify(await call()));
  for (let i = before; i < missing.length; i += 1) missing[i] = `${route}: ${missing[i]}`;
  return answers[name];
}

const room = { roomName: "room-1", durationMinutes: 1 };
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
const agent = await ask("createAgent", () =>
  gateway.createAgentSession({
    roomName: "tutor",
    participantIdentity: "agent",
    clientIdentity: "Zoë Ångström 学生",
    durationMinutes: 16,
    language: "ja",
    clientIp: "127.0.0.1",
  }),
);
await ask("extendAgent", () =>
  gateway.extendAgentSession({ bundleId: agent.bundleId, additionalMinutes: 1, additionalTtsCharacters: 100 }),
);
// Two calls of one path within the same second carry the same signature; both must work.
await ask("twins", () => Promise.all([gateway.getAccount(), gateway.getAccount()]));
await ask("getTransactions", () => gateway.getTransactions({ limit: 20, offset: 0 }));
await ask("getSessions", () => gateway.getSessions({ limit: 20, offset: 0, status: "active" }));

const errors = {};
async function refused(name, call) {
  try {
    await call();
    errors[name] = null;
  } catch (error) {
    errors[name] = { name: error.name, status: error.status, message: error.message, service: error.service };
  }
}
await refused("poor", () => gateway.createSTTSession({ durationMinutes: 1440 }));
await refused("foreign", () =>
  gateway.extendSTTSession({ sessionId: "00000000-0000-4000-8000-000000000000", additionalMinutes: 1 }),
);
await refused("invalid", () => gateway.createSTTSession({ durationMinutes: -1 }));
await refused("tooSmall", () => gateway.buyCredits({ amountUsd: 0.01 }));
await refused("tooLarge", () => gateway.buyCredits({ amountUsd: 1.01 }));

console.log(JSON.stringify({ answers, missing, errors }));
