import assert from "node:assert/strict";
import { LetterNotes } from "../../src/gateway/letter_notes.ts";
import type { DeadLetter } from "../../src/message.ts";
import { ManualClock } from "../mqtt/manual_clock.ts";

const letter = (topic: string): DeadLetter => ({
  ...{ lane: "climate", sequence: 1, route: "r", topic, payload: new Uint8Array(), qos: 1, retain: false },
  ...{ receivedAtMs: 0, reason: "not JSON", errno: null },
});

Deno.test("dead letters are told at once, then once a minute for each table, with how many there were", () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const notes = new LetterNotes({ note: (line) => told.push(line) }, clock);
  const say = (...topics: string[]) => notes.add("climate", topics.map(letter));
  say();
  assert.deepEqual(told, []);
  say("Home/a\nb");
  say("x", "y");
  notes.add("other", [letter("z")]);
  assert.deepEqual(told.splice(0), [
    'a message for climate became a dead letter, of "Home/a\\nb": not JSON (see `sluice dead list`)',
    'a message for other became a dead letter, of "z": not JSON (see `sluice dead list`)',
  ]);
  clock.advance(60_000);
  say("w");
  assert.deepEqual(told, [
    '3 messages for climate became dead letters, the last of "w": not JSON (see `sluice dead list`)',
  ]);
});
