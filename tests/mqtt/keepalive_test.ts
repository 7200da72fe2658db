/** The keepalive alone, on a clock that stands still. */
import assert from "node:assert/strict";
import { Keepalive } from "../../src/mqtt/keepalive.ts";
import { ManualClock } from "./manual_clock.ts";

function setUp() {
  const clock = new ManualClock();
  const pings: number[] = [];
  const deaths: number[] = [];
  const keepalive = new Keepalive({
    everyMs: 1000,
    clock,
    ping: () => pings.push(clock.now()),
    dead: () => deaths.push(clock.now()),
  });
  return { clock, pings, deaths, keepalive };
}

Deno.test("a PINGREQ goes out in every interval as long as something is heard after it", () => {
  const { clock, pings, deaths, keepalive } = setUp();
  for (let i = 0; i < 5; i++) {
    clock.advance(1000);
    keepalive.heard();
  }
  assert.deepEqual(pings, [1000, 2000, 3000, 4000, 5000]);
  assert.deepEqual(deaths, []);
});

Deno.test("silence after a PINGREQ ends it after one and a half intervals", () => {
  const { clock, deaths, keepalive } = setUp();
  clock.advance(900);
  keepalive.heard();
  clock.advance(599);
  assert.deepEqual(deaths, []);
  clock.advance(10_000);
  assert.deepEqual(deaths, [1500]);
});

Deno.test("while muted, pings go on and silence proves nothing; afterwards it does again", () => {
  const { clock, pings, deaths, keepalive } = setUp();
  keepalive.mute(true);
  clock.advance(60_000);
  assert.equal(pings.length, 60);
  assert.deepEqual(deaths, []);
  keepalive.mute(false);
  clock.advance(2_000);
  assert.deepEqual(deaths, [61_500]);
});

Deno.test("after a freeze of our own the broker gets another chance to be heard", () => {
  const { clock, pings, deaths, keepalive } = setUp();
  clock.advance(1000);
  clock.freeze(60_000);
  clock.advance(0);
  assert.deepEqual(deaths, []);
  keepalive.heard();
  clock.advance(500);
  assert.deepEqual(deaths, []);
  assert.equal(pings.length, 2);
});

Deno.test("nothing happens any more after disposal", () => {
  const { clock, pings, deaths, keepalive } = setUp();
  keepalive[Symbol.dispose]();
  clock.advance(10_000);
  assert.deepEqual([pings, deaths, clock.waiting], [[], [], 0]);
});
