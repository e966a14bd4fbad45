// Checks a bill with nothing but the bill and the gateway's public key; names the first break.
//
// The second of two verifiers, written against specs/ledger.md, section 7, apart from the first
// (domain/audit.py). It needs SHA-256 and Ed25519 from WebCrypto and runs in browsers and in Node.

const FORMAT = "payphone-bill-1";
const ROUNDING = "ceil(quantity * microcredits / per), once, at settlement";
const LEVELS_MAX = 32;
const QUANTITY_MAX = 10n ** 12n;
const MICROCREDITS_MAX = 2n ** 53n - 1n;
const UNITS = ["ms", "character"];
const ED25519 = 1;
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
// The newest class version known of each event that has had more than one.
const VERSIONS = { "account.credits_reserved": 2n, "account.reservation_settled": 2n };
const BILL_FIELDS = ["evidence", "format", "statement"];
const EVIDENCE_FIELDS = ["checkpoint", "events", "signer"];
const EVENT_FIELDS = [
  "originator_id", "originator_version", "position", "proof", "state", "topic",
];

/** The first thing that does not hold: where it is, what was expected, what was found. */
export class AuditError extends Error {
  constructor(where, expected, found) {
    super(`${where}: expected ${short(expected)}, found ${short(found)}`);
    this.where = where;
    this.expected = expected;
    this.found = found;
  }
}

/** What stops the check before it begins: this browser cannot do it, whatever the bill says. */
export class UnableError extends Error {}

/** Read a bill from its bytes or text; AuditError for anything that is not one. */
export function parseBill(data) {
  let bill;
  try {
    const text =
      typeof data === "string" ? data : new TextDecoder("utf-8", { fatal: true }).decode(data);
    bill = new Reader(text).document();
  } catch (damage) {
    throw damage instanceof AuditError
      ? damage
      : new AuditError("file", "a bill in JSON", damage.message);
  }
  if (!isObject(bill) || bill.format !== FORMAT) {
    throw new AuditError("format", FORMAT, isObject(bill) ? bill.format : typeof bill);
  }
  return bill;
}

/**
 * Check every claim of a bill; AuditError at the first that fails.
 *
 * With `trusted` (a verifier key `name+hint+key`) only that key's signature counts; without, the
 * key named in the bill is used, and the caller must know that it is the gateway's.
 */
export async function verifyBill(bill, { trusted = null } = {}) {
  await needEd25519();
  const evidence = fieldOf(bill, "evidence");
  checkFields("bill", bill, BILL_FIELDS);
  checkFields("evidence", evidence, EVIDENCE_FIELDS);
  const head = await openHead(evidence, trusted);
  const records = [];
  for (const event of listOf(evidence.events)) records.push(await provenRecord(event, head));
  checkOrder(records);
  checkParties(records);
  const statement = await statementOf(records);
  compare("statement", statement, bill.statement);
  return {
    session: statement.session.id,
    charged: statement.totals.charged_microcredits,
    refunded: statement.totals.refunded_microcredits,
    events: records.length,
    size: head.size,
    origin: head.origin,
    signer: evidence.signer,
    statement,
  };
}

// ---- the signed head (section 5)

async function openHead(evidence, trusted) {
  const key = await parseKey(textOf(evidence.signer));
  if (key.text !== evidence.signer) throw new AuditError("signer", key.text, evidence.signer);
  if (trusted !== null) {
    const ours = (await parseKey(trusted)).text;
    if (ours !== key.text) throw new AuditError("signer", ours, key.text);
  }
  const note = textOf(evidence.checkpoint);
  const gap = note.indexOf("\n\n");
  const lines = note.slice(gap + 2).split("\n");
  if (gap < 0 || lines.pop() !== "" || lines.length === 0) {
    throw badHead("a signed note is a text, an empty line, and whole signature lines");
  }
  const body = note.slice(0, gap) + "\n";
  const own = lines.map(signatureLine).filter(
    (line) => line.name === key.name && line.hint === key.hint,
  );
  if (own.length === 0) throw badHead(`no good signature by ${key.name} (key hint ${key.hint})`);
  for (const { signature } of own) {
    if (!(await signatureHolds(key.bytes, signature, utf8(body)))) {
      throw badHead(`no good signature by ${key.name} (key hint ${key.hint})`);
    }
  }
  return parseHead(body);
}

function signatureLine(line) {
  const parts = line.split(" ");
  let raw = null;
  try {
    raw = parts.length === 3 ? base64(parts[2]) : null;
  } catch {
    raw = null;
  }
  if (raw === null || parts[0] !== "\u2014" || parts[1] === "" || raw.length <= 4) {
    throw badHead("no good signature: a line is `\u2014 name base64`");
  }
  return { name: parts[1], hint: hex(raw.slice(0, 4)), signature: raw.slice(4) };
}

function parseHead(body) {
  const [origin, size, root, rest, ...more] = body.split("\n");
  if (rest !== "" || more.length > 0 || !/^(0|[1-9][0-9]*)$/.test(size)) {
    throw badHead("a checkpoint is three lines: origin, size, root");
  }
  try {
    return { origin, size: BigInt(size), root: base64(root) };
  } catch {
    throw badHead("a checkpoint is three lines: origin, size, root");
  }
}

async function parseKey(text) {
  const trimmed = text.trim();
  const [name, hint, ...rest] = trimmed.split("+");
  let raw;
  try {
    raw = base64(rest.join("+"));
  } catch {
    raw = new Uint8Array();
  }
  if (rest.length === 0 || raw.length !== 33 || raw[0] !== ED25519) {
    throw badHead(`not an Ed25519 verifier key \`name+hint+base64\` (got ${short(trimmed)})`);
  }
  const ours = hex((await sha256(utf8(name + "\n"), raw)).slice(0, 4));
  if (ours !== hint) {
    throw badHead(`not an Ed25519 verifier key: its hint does not match (${short(trimmed)})`);
  }
  return { name, hint, bytes: raw.slice(1), text: trimmed };
}

function badHead(found) {
  return new AuditError("checkpoint", "a good signature", found);
}

async function signatureHolds(key, signature, message) {
  if (signature.length !== 64) return false;
  try {
    const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, signature, message);
  } catch {
    return false;
  }
}

async function needEd25519() {
  if (globalThis.crypto?.subtle === undefined) {
    throw new UnableError(
      "WebCrypto is missing: open this page over https, from localhost, or as a saved file",
    );
  }
  try {
    await crypto.subtle.importKey("raw", EXAMPLE_KEY, "Ed25519", false, ["verify"]);
  } catch {
    throw new UnableError(
      "this browser does not know Ed25519; use a newer one (Chrome 137, Firefox 129, Safari 17), " +
        "or `payphone verify`",
    );
  }
}

// The public key of RFC 8032, section 7.1, test 1.
const EXAMPLE_KEY = Uint8Array.from(
  "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".match(/../g),
  (pair) => parseInt(pair, 16),
);

// ---- events and their places in the log (sections 3 and 4)

async function provenRecord(event, head) {
  const position = fieldOf(event, "position");
  const version = fieldOf(event, "originator_version");
  const topic = fieldOf(event, "topic");
  const shown = position instanceof NotWhole ? position.text : position;
  checkFields(`event at ${shown}`, event, EVENT_FIELDS);
  if (typeof position !== "bigint") {
    throw new AuditError("event position", "a whole number", position);
  }
  if (typeof version !== "bigint") {
    throw new AuditError("event originator_version", "a whole number", version);
  }
  if (isObject(topic) || Array.isArray(topic)) throw broken("a topic");
  if (typeof topic !== "string" || !Object.hasOwn(STEPS, topic)) {
    throw new AuditError(`event at ${position}`, "an event of a bill", topic);
  }
  const id = textOf(event.originator_id);
  if (!ID.test(id)) {
    const where = `event at ${position} originator_id`;
    throw new AuditError(where, "a UUID in lower case with hyphens", id);
  }
  const state = canonical(event.state);
  const leaf = utf8(
    `{"originator_id":"${id}","originator_version":${version},"state":${state},"topic":"${topic}"}`,
  );
  const proof = listOf(event.proof).map((hash) => value(() => base64(textOf(hash))));
  if (!(await standsIn(leaf, position - 1n, proof, head))) {
    throw new AuditError(
      `event at position ${position} (${topic})`,
      `to stand in the signed log of ${head.size} events`,
      "its inclusion proof does not lead to the signed root",
    );
  }
  return { position, id, version, topic, fields: event.state };
}

/** RFC 9162, section 2.1.3.2. */
async function standsIn(leaf, index, proof, { size, root }) {
  if (index < 0n || index >= size) return false;
  let hash = await sha256(Uint8Array.of(0), leaf);
  let [node, last] = [index, size - 1n];
  for (const sibling of proof) {
    if (last === 0n) return false;
    if (node & 1n || node === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash);
      while (!(node & 1n) && node !== 0n) [node, last] = [node >> 1n, last >> 1n];
    } else {
      hash = await sha256(Uint8Array.of(1), hash, sibling);
    }
    [node, last] = [node >> 1n, last >> 1n];
  }
  return last === 0n && hex(hash) === hex(root);
}

function checkOrder(records) {
  for (let i = 1; i < records.length; i += 1) {
    if (records[i].position <= records[i - 1].position) {
      const expected = `a position above ${records[i - 1].position}`;
      throw new AuditError("event order", expected, records[i].position);
    }
  }
}

/** One session, its account, and nobody else's events. */
function checkParties(records) {
  const own = records.filter((record) => record.topic.startsWith("session."));
  const sessions = [...new Set(own.map((record) => record.id))];
  if (sessions.length !== 1) {
    throw new AuditError("session", "the events of one session", sessions.length);
  }
  const opened = records.filter((record) => record.topic === "session.opened");
  if (opened.length !== 1) throw new AuditError("session.opened", "one", opened.length);
  const account = fieldOf(opened[0].fields, "account_id");
  for (const record of records) {
    if (!record.topic.startsWith("account.")) continue;
    const session = fieldOf(record.fields, "session_id");
    if (record.id !== account || session !== sessions[0]) {
      throw new AuditError(
        `event at position ${record.position}`,
        `one of account ${account} for session ${sessions[0]}`,
        `account ${record.id}, session ${session}`,
      );
    }
  }
}

// ---- the arithmetic of a bill (section 7, steps 6 to 9)

async function statementOf(records) {
  const tally = {
    opened: null, book: null, quantity: 0n, reserved: 0n, used: 0n, expiresMs: 0n, resumed: null,
    closed: null, accountReserved: 0n, settled: null, lines: [],
  };
  let version = 0n;
  for (const record of records) {
    if (record.topic.startsWith("session.")) {
      version += 1n;
      expect(`position ${record.position} version`, version, record.version);
      if (tally.closed !== null) throw new AuditError("close", "the last event", record.topic);
    }
    checkVersion(record);
    await STEPS[record.topic](tally, record);
  }
  if (tally.closed === null) {
    throw new AuditError("session", "a settled session", "one that is still open");
  }
  checkTotals(tally);
  return documentOf(tally);
}

const STEPS = {
  "price_book.published": async (tally, { position, fields }) => {
    if (tally.book !== null) throw new AuditError("price book", "one", "two");
    tally.book = await parseBook(fieldOf(fields, "content"), position);
    expect("price book hash", fieldOf(fields, "content_hash"), tally.book.hash);
  },
  "session.opened": (tally, record) => {
    const { fields } = record;
    tally.opened = { id: record.id, ...fields };
    tally.quantity = whole(fields, "quantity");
    tally.expiresMs = whole(fields, "expires_at_ms");
    if (tally.book === null) {
      throw new AuditError("price book", fields.price_book, "none in the evidence");
    }
    const tariff = tariffOf(tally);
    expect("price book version", tally.book.version, fieldOf(fields, "price_book"));
    expect("unit", tariff.unit, fieldOf(fields, "unit"));
    expect("rate", tariff.microcredits, fieldOf(fields, "rate_microcredits"));
    expect("rate per", tariff.per, fieldOf(fields, "rate_per"));
    reserve(tally, record);
  },
  "session.extended": (tally, record) => {
    tally.quantity += whole(record.fields, "quantity");
    tally.expiresMs = whole(record.fields, "expires_at_ms");
    reserve(tally, record);
  },
  "session.clock_resumed": (tally, record) => {
    if (tally.resumed !== null) {
      throw new AuditError(`position ${record.position}`, "a paused clock", "running");
    }
    tally.resumed = record;
  },
  "session.clock_observed": () => {},
  "session.clock_paused": (tally, { position, fields }) => {
    if (tally.resumed === null) {
      throw new AuditError(`position ${position}`, "a running clock", "none");
    }
    const [fromMs, toMs] = [whole(tally.resumed.fields, "at_ms"), whole(fields, "at_ms")];
    const ranMs = most(0n, least(toMs, tally.expiresMs) - fromMs);
    const used = least(tally.quantity, tally.used + ranMs);
    expect(`used at position ${position}`, used, fieldOf(fields, "used_ms"));
    const quantity = used - tally.used;
    tally.lines.push({ kind: "used", from_ms: fromMs, to_ms: toMs, quantity, position });
    tally.used = used;
    tally.resumed = null;
  },
  "session.characters_spoken": (tally, { position, fields }) => {
    const used = whole(fields, "used_characters");
    if (used < tally.used || used > tally.quantity) {
      const expected = `${tally.used} to ${tally.quantity}`;
      throw new AuditError(`characters at position ${position}`, expected, used);
    }
    const quantity = used - tally.used;
    tally.lines.push({ kind: "used", at_ms: whole(fields, "at_ms"), quantity, position });
    tally.used = used;
  },
  "session.closed": (tally, { position, fields }) => {
    tally.closed = fields;
    if (tally.resumed !== null) throw new AuditError("close", "a paused clock", "a running one");
    const at_ms = whole(fields, "at_ms");
    const [charged, refunded] = [whole(fields, "charged"), whole(fields, "refunded")];
    const quantity = whole(fields, "used");
    tally.lines.push({ kind: "charged", at_ms, quantity, microcredits: charged, position });
    tally.lines.push({ kind: "refunded", at_ms, microcredits: refunded, position });
  },
  "account.credits_reserved": (tally, record) => {
    const amount = whole(record.fields, "amount");
    checkPostings(record, [["available", -amount], ["reserved", amount]]);
    tally.accountReserved += amount;
  },
  "account.reservation_settled": (tally, record) => {
    const { fields } = record;
    if (tally.settled !== null) throw new AuditError("settlement", "one", "two");
    const [charged, refunded] = [whole(fields, "charged"), whole(fields, "refunded")];
    const service = textOf(fieldOf(fields, "service"));
    checkPostings(record, [
      ["reserved", -charged - refunded], [`revenue:${service}`, charged], ["available", refunded],
    ]);
    tally.settled = [charged, refunded];
  },
};

/** An event of a newer class version may mean more than is known here. */
function checkVersion({ position, topic, fields }) {
  if (!isObject(fields) || !Object.hasOwn(fields, "class_version")) return;
  const [known, found] = [VERSIONS[topic] ?? 1n, fields.class_version];
  if (typeof found !== "bigint" || found < 1n || found > known) {
    const expected = `1 to ${known}, or a newer verifier to read it`;
    throw new AuditError(`class_version at position ${position}`, expected, found);
  }
}

/** Events say what they move since version 2; it must follow from their amounts (section 8). */
function checkPostings({ position, id, fields }, moves) {
  const legs = moves.filter(([, amount]) => amount !== 0n).map(([account, amount]) => {
    const ofWallet = account === "available" || account === "reserved";
    return [ofWallet ? `wallet:${id}:${account}` : account, amount];
  });
  const owed = (fields.class_version ?? 1n) === 1n ? "none" : canonical(legs);
  const found = Object.hasOwn(fields, "postings") ? canonical(fields.postings) : "none";
  expect(`postings at position ${position}`, owed, found);
}

function reserve(tally, { position, fields }) {
  const more = whole(fields, "reserved");
  tally.reserved += more;
  expect(`reserved at position ${position}`, price(tally, tally.quantity), tally.reserved);
  const [at_ms, quantity] = [whole(fields, "at_ms"), whole(fields, "quantity")];
  tally.lines.push({ kind: "reserved", at_ms, quantity, microcredits: more, position });
}

function checkTotals(tally) {
  const { closed } = tally;
  expect("used", tally.used, closed.used);
  expect("charged", price(tally, tally.used), closed.charged);
  expect("charged + refunded", tally.reserved, closed.charged + closed.refunded);
  expect("reserved by the account", tally.reserved, tally.accountReserved);
  const settled = `(${tally.settled === null ? "nothing" : tally.settled.join(", ")})`;
  expect("settled by the account", `(${closed.charged}, ${closed.refunded})`, settled);
}

function documentOf({ opened, closed, book, lines, reserved }) {
  return {
    session: {
      id: opened.id,
      account_id: fieldOf(opened, "account_id"),
      bundle_id: fieldOf(opened, "bundle_id"),
      service: opened.service,
      opened_at_ms: fieldOf(opened, "at_ms"),
      closed_at_ms: closed.at_ms,
      reason: fieldOf(closed, "reason"),
    },
    tariff: {
      price_book: opened.price_book,
      price_book_sha256: book.hash,
      unit: opened.unit,
      microcredits: opened.rate_microcredits,
      per: opened.rate_per,
      rounding: ROUNDING,
    },
    lines,
    totals: {
      used: closed.used,
      reserved_microcredits: reserved,
      charged_microcredits: closed.charged,
      refunded_microcredits: closed.refunded,
    },
  };
}

/** ceil(quantity * microcredits / per), in whole numbers of any size. */
function price(tally, quantity) {
  if (tally.book === null || tally.opened === null) {
    throw new AuditError("session", "a session opened under a price book", "none");
  }
  const { microcredits, per, unit } = tariffOf(tally);
  if (quantity < 0n || quantity > QUANTITY_MAX) {
    throw new AuditError("value", "a well-formed value", `${quantity} ${unit}s`);
  }
  const amount = (quantity * microcredits + per - 1n) / per;
  if (amount > MICROCREDITS_MAX) {
    throw new AuditError("value", "a well-formed value", `${amount} microcredits`);
  }
  return amount;
}

function tariffOf({ book, opened }) {
  const tariff = book.tariffs.get(opened.service);
  if (tariff === undefined) throw broken(`a tariff for ${opened.service}`);
  return tariff;
}

async function parseBook(content, position) {
  const where = `price book at position ${position}`;
  try {
    const book = new Reader(textOf(content), { repeats: true }).document();
    const tariffs = new Map();
    for (const [name, { unit, microcredits, per }] of Object.entries(book.tariffs)) {
      const isWhole = typeof microcredits === "bigint" && typeof per === "bigint";
      if (!isWhole || !UNITS.includes(unit) || microcredits < 0n || per < 1n) {
        throw new AuditError(where, "a price book", `no tariff for ${name}`);
      }
      tariffs.set(name, { microcredits, per, unit });
    }
    const known = { tariffs: Object.fromEntries(tariffs), version: textOf(book.version) };
    if (ascii(canonical(known)) !== content) {
      throw new AuditError(where, "a price book", "one that is not canonical JSON");
    }
    return { version: book.version, tariffs, hash: hex(await sha256(utf8(content))) };
  } catch (damage) {
    if (damage instanceof AuditError && damage.where === where) throw damage;
    throw new AuditError(where, "a price book", damage.message);
  }
}

// ---- comparing what follows with what is claimed

function compare(where, expected, found) {
  if (isObject(expected) && isObject(found)) {
    checkFields(where, found, Object.keys(expected).sort());
    for (const name of Object.keys(expected).sort()) {
      compare(`${where}.${name}`, expected[name], found[name]);
    }
  } else if (Array.isArray(expected) && Array.isArray(found)) {
    if (expected.length !== found.length) {
      throw new AuditError(`${where} count`, expected.length, found.length);
    }
    expected.forEach((item, index) => compare(`${where}[${index}]`, item, found[index]));
  } else if (expected !== found) {
    throw new AuditError(where, expected, found);
  }
}

/** Exactly these: a field nobody checks is a claim nobody checks. */
function checkFields(where, found, expected) {
  if (!isObject(found)) throw broken(`an object at ${where}`);
  const names = Object.keys(found);
  const strange = [
    ...names.filter((name) => !expected.includes(name)),
    ...expected.filter((name) => !names.includes(name)),
  ].sort();
  if (strange.length > 0) {
    throw new AuditError(`${where}.${strange[0]}`, expected.join(", "), names.sort().join(", "));
  }
}

function expect(where, expected, found) {
  if (expected !== found) throw new AuditError(where, expected, found);
}

function broken(expected) {
  return new AuditError("structure", expected, "something else");
}

function fieldOf(object, name) {
  if (!isObject(object) || !Object.hasOwn(object, name)) throw broken(`a field ${name}`);
  return object[name];
}

function whole(fields, name) {
  const found = fieldOf(fields, name);
  if (typeof found !== "bigint") throw broken(`a whole number in ${name}`);
  return found;
}

function textOf(found) {
  if (typeof found !== "string") throw broken("text");
  return found;
}

function listOf(found) {
  if (!Array.isArray(found)) throw broken("a list");
  return found;
}

function isObject(found) {
  return (
    typeof found === "object" && found !== null && !Array.isArray(found) &&
    !(found instanceof NotWhole)
  );
}

function value(read) {
  try {
    return read();
  } catch (damage) {
    if (damage instanceof AuditError) throw damage;
    throw new AuditError("value", "a well-formed value", damage.message);
  }
}

function least(left, right) {
  return left < right ? left : right;
}

function most(left, right) {
  return left > right ? left : right;
}

// ---- JSON, read strictly and written canonically (RFC 8785)

/** A number that is not whole; no event and no statement has one. */
class NotWhole {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }
}

/**
 * JSON with every name once and whole numbers of any size. The language's own parser takes 1.0
 * for 1, rounds beyond 2^53, and of two fields of one name keeps the last.
 */
class Reader {
  constructor(text, { repeats = false } = {}) {
    this.text = text;
    this.at = 0;
    this.level = 0;
    this.repeats = repeats;
  }

  document() {
    const found = this.any();
    this.blank();
    if (this.at < this.text.length) throw this.unexpected();
    return found;
  }

  any() {
    this.blank();
    const next = this.text[this.at];
    if (next === "{") return this.nested(() => this.object());
    if (next === "[") return this.nested(() => this.list());
    if (next === '"') return this.string();
    for (const [word, meaning] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return meaning;
      }
    }
    return this.number();
  }

  nested(read) {
    this.at += 1;
    this.level += 1;
    if (this.level > LEVELS_MAX) {
      throw new AuditError("file", "a bill in JSON", `over ${LEVELS_MAX} levels`);
    }
    const found = read();
    this.level -= 1;
    return found;
  }

  object() {
    const found = Object.create(null);
    if (this.skip("}")) return found;
    do {
      this.blank();
      const name = this.string();
      if (!this.skip(":")) throw this.unexpected();
      const item = this.any();
      if (!this.repeats && Object.hasOwn(found, name)) {
        throw new AuditError("file", "each name once in an object", `'${name}' twice`);
      }
      found[name] = item;
    } while (this.skip(","));
    if (!this.skip("}")) throw this.unexpected();
    return found;
  }

  list() {
    const found = [];
    if (this.skip("]")) return found;
    do found.push(this.any());
    while (this.skip(","));
    if (!this.skip("]")) throw this.unexpected();
    return found;
  }

  string() {
    const token = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
    return JSON.parse(this.take(token));
  }

  number() {
    const text = this.take(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y);
    return /[.eE]/.test(text) ? new NotWhole(text) : BigInt(text);
  }

  take(token) {
    token.lastIndex = this.at;
    const found = token.exec(this.text);
    if (found === null) throw this.unexpected();
    this.at = token.lastIndex;
    return found[0];
  }

  skip(character) {
    this.blank();
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  blank() {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at += 1;
  }

  unexpected() {
    const found = this.text.slice(this.at, this.at + 20);
    return new SyntaxError(`${JSON.stringify(found)} at character ${this.at}`);
  }
}

const WORDS = [["true", true], ["false", false], ["null", null]];

function canonical(found) {
  if (Array.isArray(found)) return `[${found.map(canonical).join(",")}]`;
  if (isObject(found)) {
    const names = Object.keys(found).sort();
    return `{${names.map((name) => `${quoted(name)}:${canonical(found[name])}`).join(",")}}`;
  }
  return typeof found === "string" ? quoted(found) : String(found);
}

function quoted(text) {
  if (/[\ud800-\udfff]/.test(text.replace(/[\ud800-\udbff][\udc00-\udfff]/g, ""))) {
    throw new AuditError("value", "a well-formed value", "text that is not Unicode");
  }
  return JSON.stringify(text);
}

/** Price books are written in ASCII alone. */
function ascii(text) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(/[\u0080-\uffff]/g, escaped);
}

// ---- bytes

function utf8(text) {
  return new TextEncoder().encode(text);
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Base64 in its one canonical spelling: unused bits are zero, nothing else is skipped. */
function base64(text) {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
    throw new RangeError(`expected canonical base64 (got ${short(text)})`);
  }
  const binary = atob(text);
  if (btoa(binary) !== text) {
    throw new RangeError(`expected canonical base64 (got ${short(text)})`);
  }
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

async function sha256(...parts) {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
}

function short(found) {
  const text =
    typeof found === "object" && found !== null && !(found instanceof NotWhole)
      ? canonicalOrKind(found)
      : String(found);
  return text.length <= 160 ? text : `${text.slice(0, 159)}\u2026`;
}

function canonicalOrKind(found) {
  try {
    return canonical(found);
  } catch {
    return "text that is not Unicode";
  }
}
