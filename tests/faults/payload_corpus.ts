/**
 * Payloads that somebody could send by accident or on purpose, and more of them from a seed.
 */
export interface Payload {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const encoder = new TextEncoder();

/** Bytes that are no UTF-8, each wrong in its own way. */
const BROKEN: Readonly<Record<string, readonly number[]>> = {
  "bytes that never occur": [0xff, 0xfe],
  "a continuation alone": [0x80],
  "a wrong continuation": [0xc3, 0x28],
  "an overlong NUL": [0xc0, 0x80],
  "an overlong slash": [0xe0, 0x80, 0xaf],
  "a surrogate": [0xed, 0xa0, 0x80],
  "half a character": [0x41, 0xe2, 0x82],
  "beyond Unicode": [0xf4, 0x90, 0x80, 0x80],
  "JSON with a broken text": [...encoder.encode('{"a":"'), 0xff, ...encoder.encode('"}')],
};

const TEXTS: readonly string[] = [
  ...[
    "",
    " ",
    "\0",
    "a\0b",
    '"a\\u0000b"',
    "\ufeffx",
    "\ufeff1",
    "x\ufeff",
    "\ufffd",
    "\uffff",
    "\u{10ffff}",
  ],
  ...["é", "e\u0301", "😀", "👩‍👩‍👧", "\u202eabc", "ÅΩß", "ﬁ", "\u0085\u2028\u2029", "\r\n", "a\tb\r"],
  ...[
    "abc   ",
    '"abc   "',
    "   abc",
    "   ",
    "\\",
    "\\0",
    "%s%n",
    "'; DROP TABLE x; --",
    '" OR 1=1',
    "`x`",
    "\x1a",
  ],
  ...[
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "[NaN]",
    '{"a":NaN}',
    "1e999",
    "-1e999",
    "[1e999]",
    "1e-999",
    "1e400",
  ],
  ...[
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "[9007199254740993]",
    '{"a":9007199254740993}',
  ],
  ...["9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"],
  ...[
    "18446744073709551615",
    "18446744073709551616",
    "[18446744073709551616]",
    "1" + "0".repeat(65),
    "9".repeat(400),
  ],
  ...["123456789012345678901234567890.123456789012345", "0.1234567890123456789", "[0.1234567890123456789]"],
  ...[
    "-0",
    "-0.0",
    "[-0]",
    "0.1",
    "0.30000000000000004",
    "1.7976931348623157e308",
    "1.8e308",
    "5e-324",
    "2.5e-324",
  ],
  ...[
    "1.0",
    "1e2",
    "1E+2",
    "01",
    "+1",
    "1.",
    ".5",
    "-.5",
    "0x10",
    "1_000",
    "1,5",
    "١٢٣",
    "12 ",
    " 12",
    "1 2",
    "--1",
  ],
  ...["1.5", "2.5", "-1.5", "1.005", "3.4028236e38", "16777217", "0.5e0", "1e15", "1e21", "123e-2"],
  ...[
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[null]",
    '""',
    '"text"',
    '"12"',
    '"0x10"',
    "on",
    "off",
    "yes",
    "2",
  ],
  ...[
    '"\\ud800"',
    '"\\udc00x"',
    '"\\ud83d\\ude00"',
    '{"\\ud800":1}',
    '["\\udfff"]',
    '"\\u12"',
    '"\\x41"',
    "'a'",
  ],
  ...['{"a":1,"a":2}', '{"__proto__":{"x":1}}', '{"constructor":{"prototype":{"x":1}}}', '{"toString":1}'],
  ...[
    '{"__proto__":null,"hasOwnProperty":1}',
    '{"":1}',
    '{"a.b":1,"$":2,"@topic":3}',
    '{"b":1,"a":2}',
    "[1,]",
    '{"a":1}x',
  ],
  ...["[".repeat(99) + "]".repeat(99), "[".repeat(100) + "]".repeat(100), "[".repeat(101) + "]".repeat(101)],
  ...[
    "[".repeat(1_000) + "]".repeat(1_000),
    "[".repeat(1_000),
    '{"a":'.repeat(1_000) + "1" + "}".repeat(1_000),
  ],
  ...["2024-02-30", "2024-05-01T12:00:00Z", "2024-05-01 12:00:00", "2024-05-01T12:00:00+02:00", "20240501"],
  ...["0000-00-00", "2024-00-10", "9999-12-31 23:59:59.9999", "2024-12-31T23:59:60Z", "12:30:00", "24:00:00"],
  ...[
    "x".repeat(200),
    "x".repeat(201),
    "é".repeat(200),
    "😀".repeat(200),
    `"${"é".repeat(201)}"`,
    " ".repeat(300),
  ],
  ...["x".repeat(70_000), JSON.stringify({ text: "y".repeat(70_000) }), `[${"1,".repeat(9_999)}1]`],
];

/** Too large to go everywhere: one for each decoder. */
export function hugePayloads(): Readonly<Record<string, Payload>> {
  const bytes = 10 * 1024 * 1024;
  const any = new Uint8Array(bytes).map((_, i) => i * 31 + (i >> 8));
  return {
    text: { name: "10 MB of text", bytes: encoder.encode("é".repeat(bytes / 2)) },
    bytes: { name: "10 MB of anything", bytes: any },
    auto: { name: "10 MB of small values", bytes: encoder.encode(`[${"1,".repeat(bytes / 2)}1]`) },
    json: { name: "10 MB of one JSON text", bytes: encoder.encode(`"${"x".repeat(bytes)}"`) },
    number: { name: "10 MB of digits", bytes: encoder.encode("9".repeat(bytes)) },
  };
}

export function payloads(seed: number, generated: number): Payload[] {
  const random = generator(seed);
  return [
    ...Object.entries(BROKEN).map(([name, bytes]) => ({ name, bytes: Uint8Array.from(bytes) })),
    ...TEXTS.map((text) => ({ name: text.slice(0, 60), bytes: encoder.encode(text) })),
    ...Array.from({ length: generated }, (_, i) => {
      const make = MAKERS[i % MAKERS.length];
      return { name: `${make.name} ${i} of seed ${seed}`, bytes: make(random) };
    }),
  ];
}

type Random = (below: number) => number;

/** Mulberry32: the same numbers for the same seed, everywhere. */
function generator(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) % below;
  };
}

const MAKERS: readonly ((random: Random) => Uint8Array)[] = [
  anyBytes,
  anyText,
  anyNumber,
  anyJson,
  mutilated,
];

function anyBytes(random: Random): Uint8Array {
  return Uint8Array.from({ length: random(64) }, () => random(256));
}

function textOf(random: Random, length = random(30)): string {
  const planes = [0x80, 0x800, 0x10000, 0x110000];
  const points = Array.from({ length }, () => random(planes[random(4)]));
  return String.fromCodePoint(...points.map((it) => it >= 0xd800 && it < 0xe000 ? 0xfffd : it));
}

function anyText(random: Random): Uint8Array {
  return encoder.encode(textOf(random));
}

function numberOf(random: Random): string {
  const digits = (most: number) => Array.from({ length: 1 + random(most) }, () => random(10)).join("");
  const sign = random(3) === 0 ? "-" : "";
  const whole = String(BigInt(digits(25)));
  const fraction = random(2) === 0 ? `.${digits(25)}` : "";
  return sign + whole + fraction + (random(3) === 0 ? `e${random(2) === 0 ? "-" : ""}${digits(3)}` : "");
}

function anyNumber(random: Random): Uint8Array {
  return encoder.encode(numberOf(random));
}

function jsonOf(random: Random, levels: number): string {
  switch (random(levels > 0 ? 7 : 5)) {
    case 0:
      return numberOf(random);
    case 1:
      return JSON.stringify(textOf(random));
    case 2:
      return ["null", "true", "false"][random(3)];
    case 3:
      return `"\\u${random(65_536).toString(16).padStart(4, "0")}"`;
    case 4:
      return String(random(1_000));
    case 5:
      return `[${Array.from({ length: random(5) }, () => jsonOf(random, levels - 1)).join(",")}]`;
    default: {
      const names = ["a", "b", "__proto__", "constructor", ""];
      const members = Array.from(
        { length: random(5) },
        () => `${JSON.stringify(names[random(5)])}:${jsonOf(random, levels - 1)}`,
      );
      return `{${members.join(",")}}`;
    }
  }
}

function anyJson(random: Random): Uint8Array {
  return encoder.encode(jsonOf(random, 4));
}

/** JSON with a few bytes that are not what they were. */
function mutilated(random: Random): Uint8Array {
  const bytes = anyJson(random);
  for (let i = random(3); i >= 0 && bytes.length > 0; i--) bytes[random(bytes.length)] = random(256);
  return bytes;
}
