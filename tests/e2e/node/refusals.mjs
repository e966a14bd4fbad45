// What the real client makes of every refusal: argument: a server with a refusal at /<name>/<status>.
// Input: JSON list of [base URL, method]. Prints one JSON list.
import { DtelecomGateway } from "@dtelecom/x402-client";
import { privateKeyToAccount } from "viem/accounts";

// Throwaway: 32 bytes of 0x01.
const account = privateKeyToAccount(`0x${"01".repeat(32)}`);
const [gatewayUrl, ...cases] = process.argv.slice(2);
const CALLS = {
  account: (gateway) => gateway.getAccount(),
  stt: (gateway) => gateway.createSTTSession({ durationMinutes: 1 }),
  tts: (gateway) => gateway.createTTSSession({ maxCharacters: 1 }),
  webrtc: (gateway) => gateway.createWebRTCToken({ roomName: "r", participantIdentity: "p", durationMinutes: 1 }),
  "agent-session": (gateway) =>
    gateway.createAgentSession({ roomName: "r", participantIdentity: "p", durationMinutes: 1 }),
};

const told = {};
for (const name of cases) {
  const [code, call] = name.split("/");
  try {
    await CALLS[call](new DtelecomGateway({ gatewayUrl: `${gatewayUrl}/${code}`, account }));
    told[name] = null;
  } catch (error) {
    const own = error.constructor.name;
    told[name] = { own, name: error.name, status: error.status, message: error.message, service: error.service };
  }
}
console.log(JSON.stringify(told));
