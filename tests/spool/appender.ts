/**
 * A process to be killed: appends numbered messages and says `acknowledged <n>` once they are durable, while it settles
 * lane "b" and says `settling <n>` before it does. Arguments: path of the spool, first number.
 */
import { openSpool } from "../../src/spool/spool.ts";
import { publish, stored, textsOf, to } from "./scratch_spool.ts";

const [path, first] = Deno.args;
const encoder = new TextEncoder();
const say = (line: string) => Deno.stdout.writeSync(encoder.encode(`${line}\n`));

const spool = await openSpool({ path });

async function settleAll(): Promise<void> {
  for await (const batch of spool.batches("b", new AbortController().signal)) {
    say(`settling ${textsOf(batch).at(-1)}`);
    await spool.settle(batch, stored(batch));
  }
}

void settleAll();
for (let n = Number(first), size = 1; n <= 60_000; size = size % 7 + 1) {
  const last = n + size - 1;
  const arrivals = Array.from({ length: size }, (_, i) => publish(n + i));
  await spool.append(arrivals, to("a", "b"));
  say(`acknowledged ${last}`);
  n = last + 1;
}
