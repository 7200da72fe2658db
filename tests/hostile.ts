/**
 * Messages that mean harm, or only look like it: what everything that reads messages must survive, and store as it is or
 * refuse with a reason.
 */
export interface HostileMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const json = (topic: string, value: unknown): HostileMessage => ({
  topic,
  payload: bytes(JSON.stringify(value)),
});
const text = (topic: string, payload: string): HostileMessage => ({ topic, payload: bytes(payload) });

const SQL = "x'); DROP TABLE messages; -- ";
const NAMES = [
  SQL,
  "`a`",
  "``; DROP TABLE messages; --",
  '"a"',
  "'a'",
  "a\\",
  "a\u0000b",
  "\u202Eevil",
  "🍳",
  " ",
  "",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "id",
  "received_at",
  "device",
  "value",
  "select",
  "a.b",
  "a[0]",
  "$",
  "$.a",
  "{room}",
  "@received",
  "= 1 + 1",
  "%s%n",
  "a\r\nb",
  "A",
  "a",
  "x".repeat(70),
  "ß".repeat(70),
];

const object = (names: readonly string[]) =>
  `{${names.map((name, i) => `${JSON.stringify(name)}:${i}`).join(",")}}`;

/** Below `root`, which is one topic level. */
export function hostileMessages(root: string): HostileMessage[] {
  return [
    // Every name as a key, alone and together, in values and in topics.
    ...NAMES.map((name, i) => text(`${root}/key/${i}`, object([name]))),
    text(`${root}/keys/all`, object(NAMES)),
    text(
      `${root}/keys/nested`,
      `{"__proto__":{"polluted":${object(NAMES)}},"constructor":{"prototype":{"polluted":1}}}`,
    ),
    ...NAMES.filter((it) => !/[\0+#]/.test(it)).map((name) => json(`${root}/${name}/topic`, { name })),
    json(`${root}/${"level/".repeat(60)}deep`, 1),
    json(`${root}/sluice/ledger`, { spool: SQL, lane: "x", upto: 9_999_999_999 }),
    text(`${root}/duplicate`, `{"a":1,"a":"two","A":3}`),
    // Depth and size.
    text(`${root}/deep/array`, "[".repeat(20_000) + "]".repeat(20_000)),
    text(`${root}/deep/object`, `{"a":`.repeat(20_000) + "1" + "}".repeat(20_000)),
    text(`${root}/wide/array`, `[${"1,".repeat(300_000)}1]`),
    text(`${root}/wide/object`, object(Array.from({ length: 5_000 }, (_, i) => `k${i}`))),
    text(`${root}/long/text`, "x".repeat(2_000_000)),
    text(`${root}/long/key`, object(["k".repeat(100_000)])),
    text(`${root}/long/number`, "9".repeat(100_000)),
    // Numbers and texts at the edge.
    ...["1e999", "-1e999", "NaN", "Infinity", "-0", "0x10", "1_000", "9007199254740993", "0.1e-400", "٣"].map(
      (it, i) => text(`${root}/number/${i}`, it),
    ),
    json(`${root}/edge`, {
      big: 2 ** 63,
      tiny: 5e-324,
      zero: -0,
      half: "\ud800",
      bom: "\ufeff21",
      nul: "a\0b",
    }),
    text(`${root}/bom`, "\ufeff{}"),
    text(`${root}/truncated`, `{"temperature":21`),
    text(`${root}/two`, `{"a":1}{"b":2}`),
    text(`${root}/sql`, SQL),
    text(`${root}/html`, "<script>alert(1)</script>"),
    text(`${root}/terminal`, "\x1b[2J\x1b]0;pwned\x07"),
    { topic: `${root}/invalid`, payload: Uint8Array.of(0xff, 0xfe, 0x80, 0xc0, 0xaf) },
    { topic: `${root}/zeros`, payload: new Uint8Array(1_000) },
    { topic: `${root}/empty`, payload: new Uint8Array() },
  ];
}
