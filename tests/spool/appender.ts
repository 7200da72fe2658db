/**
 * A process to be killed: appends numbered messages and says `acknowledged <n>` once they are durable, while it settles
 * lane "b" and says `settling <n>` before it does. Arguments: path of the spool, first number, and, where they are
 * wanted, bytes of random text behind the number, and milliseconds for which settled entries are kept.
 */
import type { Publish } from "../../src/message.ts";
import { openSpool } from "../../src/spool/spool.ts";
import { publish, stored, textsOf, to } from "./scratch_spool.ts";

const [path, first, textBytes = "0", graceMs] = Deno.args;
const encoder = new TextEncoder();
const say = (line: string) => Deno.stdout.writeSync(encoder.encode(`${line}\n`));

const spool = await openSpool({ path, graceMs: graceMs === undefined ? undefined : Number(graceMs) });

function message(n: number): Publish {
  if (textBytes === "0") return publish(n);
  const bytes = crypto.getRandomValues(new Uint8Array(Number(textBytes)));
  return publish(`${n} ${bytes.toBase64()}`, { packetId: n % 65_535 + 1 });
}

async function settleAll(): Promise<void> {
  for await (const batch of spool.batches("b", new AbortController().signal)) {
    say(`settling ${textsOf(batch).at(-1)}`);
    await spool.settle(batch, stored(batch));
  }
}

void settleAll();
for (let n = Number(first), size = 1; n <= 60_000; size = size % 7 + 1) {
  const last = n + size - 1;
  const arrivals = Array.from({ length: size }, (_, i) => message(n + i));
  await spool.append(arrivals, to("a", "b"));
  say(`acknowledged ${last}`);
  n = last + 1;
}
