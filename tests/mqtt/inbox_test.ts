/** The inbox alone, on a clock that stands still. */
import assert from "node:assert/strict";
import type { Arrival } from "../../src/message.ts";
import { Inbox, INBOX_BYTES_MAX } from "../../src/mqtt/inbox.ts";
import { ManualClock } from "./manual_clock.ts";

function arrival(packetId: number): Arrival {
  return {
    kind: "publish",
    topic: "a",
    payload: new Uint8Array(10),
    qos: 1,
    retain: false,
    receivedAtMs: 0,
    packetId,
    duplicate: false,
    connection: 1,
  };
}

/** An inbox, its clock, and a reader whose pulls can be looked at. */
function setUp(lingerMs: number) {
  const clock = new ManualClock();
  let taken = 0;
  const inbox = new Inbox({ lingerMs, clock, onTaken: () => taken++ });
  const stop = new AbortController();
  const pulls = inbox.arrivals(stop.signal)[Symbol.asyncIterator]();
  return { clock, inbox, stop, pulls, taken: () => taken };
}

/** Lets everything run that needs no timer. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** The packet ids of a pull that is ready now; `undefined`: it is not. */
async function ready(pull: Promise<IteratorResult<readonly Arrival[]>>): Promise<number[] | undefined> {
  const result = await Promise.race([pull, turn().then(() => undefined)]);
  return result?.value?.map((one: Arrival) => (one as { packetId: number }).packetId);
}

Deno.test("a pull waits until the oldest arrival has lingered, and takes all", async () => {
  const { clock, inbox, pulls } = setUp(10);
  const pull = pulls.next();
  inbox.push(arrival(1), 11, false);
  clock.advance(9);
  inbox.push(arrival(2), 11, false);
  assert.equal(await ready(pull), undefined);
  clock.advance(1);
  assert.deepEqual(await ready(pull), [1, 2]);
});

Deno.test("without linger a pull takes what came in one turn of the event loop", async () => {
  const { inbox, pulls } = setUp(0);
  const pull = pulls.next();
  await turn();
  for (const id of [1, 2, 3]) inbox.push(arrival(id), 11, false);
  assert.deepEqual(await ready(pull), [1, 2, 3]);
});

Deno.test("what came while the reader was busy has lingered already", async () => {
  const { clock, inbox, pulls } = setUp(10);
  inbox.push(arrival(1), 11, true);
  assert.deepEqual(await ready(pulls.next()), [1]);
  inbox.push(arrival(2), 11, false);
  clock.advance(10);
  assert.deepEqual(await ready(pulls.next()), [2]);
});

Deno.test("a hurried arrival and 64 KiB end the linger at once, for this pull only", async () => {
  const { inbox, pulls } = setUp(1000);
  const first = pulls.next();
  inbox.push(arrival(1), 11, false);
  assert.equal(await ready(first), undefined);
  inbox.push(arrival(2), 11, true);
  assert.deepEqual(await ready(first), [1, 2]);
  const second = pulls.next();
  inbox.push(arrival(3), 11, false);
  assert.equal(await ready(second), undefined);
  inbox.push(arrival(4), 64 * 1024, false);
  assert.deepEqual(await ready(second), [3, 4]);
});

Deno.test("the inbox is full from 4 MiB on until it is pulled", async () => {
  const { inbox, pulls, taken } = setUp(0);
  for (let id = 1; !inbox.full; id++) inbox.push(arrival(id), 1024 * 1024, false);
  assert.ok(inbox.bytes >= INBOX_BYTES_MAX && inbox.bytes < INBOX_BYTES_MAX + 1024 * 1024);
  await pulls.next();
  assert.equal(inbox.full, false);
  assert.equal(inbox.bytes, 0);
  assert.equal(taken(), 1);
});

Deno.test("an abort ends the reader, while it waits and before it begins", async () => {
  const { inbox, stop, pulls, clock } = setUp(10);
  const pull = pulls.next();
  await turn();
  stop.abort();
  assert.equal((await pull).done, true);
  inbox.push(arrival(1), 11, true);
  assert.equal((await inbox.arrivals(stop.signal)[Symbol.asyncIterator]().next()).done, true);
  assert.equal(clock.waiting, 0);
});

Deno.test("what a stopped reader did not acknowledge comes first to the next reader, the rest after it", async () => {
  const { inbox, stop, pulls } = setUp(0);
  const [one, two, three] = [arrival(1), arrival(2), arrival(3)];
  for (const each of [one, two]) inbox.push(each, 11, false);
  await pulls.next();
  inbox.settle([one]);
  stop.abort();
  await pulls.next();
  inbox.push(three, 11, false);
  const next = inbox.arrivals(new AbortController().signal)[Symbol.asyncIterator]();
  assert.deepEqual(await ready(next.next()), [2]);
  assert.deepEqual(await ready(next.next()), [3]);
});

Deno.test("what was acknowledged does not come again", async () => {
  const { inbox, stop, pulls } = setUp(0);
  inbox.push(arrival(1), 11, false);
  const { value } = await pulls.next();
  inbox.settle(value!);
  stop.abort();
  await pulls.next();
  inbox.push(arrival(2), 11, false);
  const next = inbox.arrivals(new AbortController().signal)[Symbol.asyncIterator]();
  assert.deepEqual(await ready(next.next()), [2]);
});
