/**
 * When tables are looked after, and what is told of it: against hand-written parts and a clock that the test moves.
 */
import assert from "node:assert/strict";
import type { KeptTable, Maintained, Maintenance, Router, Sink } from "../../src/contracts.ts";
import { BackOffError, StallError } from "../../src/errors.ts";
import { Faults } from "../../src/faults.ts";
import { Gateway } from "../../src/gateway.ts";
import { Availability } from "../../src/gateway/availability.ts";
import { Upkeep } from "../../src/gateway/upkeep.ts";
import type { HourSpan } from "../../src/hourly.ts";
import { ManualClock } from "../mqtt/manual_clock.ts";
import { waitFor } from "../servers/wait_for.ts";
import { FakeSink, FakeSpool, router } from "./fakes.ts";

const HOUR = 3_600_000;
const DONE: Maintained = { more: false, hours: [], advice: null };

const keptTable = (table: string): KeptTable => ({
  table,
  design: {
    columns: [],
    key: [],
    series: [],
    time: "ts",
    retentionMs: HOUR,
    hourly: true,
    isOneOfMany: false,
  },
});

/** The loop with everything around it. */
class Scene {
  readonly clock = new ManualClock();
  readonly lines: string[] = [];
  readonly faults = new Faults({
    clock: this.clock,
    log: { warn: (line) => this.lines.push(`warn ${line}`), info: (line) => this.lines.push(`info ${line}`) },
  });
  readonly availability = new Availability({ clock: this.clock, faults: this.faults });
  readonly tasks: Maintenance[] = [];
  /** Hours that wait, and what was given back, by table. */
  readonly hours = new Map<string, readonly HourSpan[]>();
  answer: (task: Maintenance, signal: AbortSignal) => Promise<Maintained> = () => Promise.resolve(DONE);
  tables = ["a", "b"];
  readonly #stop = new AbortController();
  readonly running: Promise<void>;

  constructor() {
    const { hours, tasks } = this;
    const tables = () => this.tables.map(keptTable);
    const ofScene: Router = {
      ...router,
      get kept() {
        return tables();
      },
      takeHours: (table) => hours.get(table) ?? [],
      returnHours: (table, left) => void hours.set(table, left),
    };
    const sink: Sink = {
      ...new FakeSink(),
      maintain: (task: Maintenance, signal: AbortSignal) => (tasks.push(task), this.answer(task, signal)),
    } as unknown as Sink;
    const upkeep = new Upkeep({
      parts: () => ({ router: ofScene, sink }),
      ...{ faults: this.faults, availability: this.availability, clock: this.clock, random: () => 0 },
    });
    this.running = upkeep.run(this.#stop.signal);
    this.running.catch(() => {});
  }

  reachable(): void {
    this.availability.succeeded(() => "");
  }

  /** Waits until so many tasks were given, and the loop waits for its clock. */
  async given(count: number): Promise<void> {
    await waitFor(() => this.tasks.length >= count && this.clock.waiting > 0, { what: `${count} turns` });
    assert.equal(this.tasks.length, count);
  }

  /** Moves on to the next full hour and the minute after it. */
  async nextHour(count: number): Promise<void> {
    this.clock.advance(HOUR - this.clock.wallMs() % HOUR + 60_000);
    await this.given(count);
  }

  async stop(): Promise<void> {
    const reason = new Error("stop");
    this.#stop.abort(reason);
    await assert.rejects(this.running, (error) => error === reason);
  }
}

Deno.test("tables are looked after when the database answers, and then after each full hour", async () => {
  const scene = new Scene();
  scene.clock.advance(10 * HOUR);
  assert.equal(scene.tasks.length, 0);
  scene.reachable();
  await scene.given(2);
  assert.deepEqual(scene.tasks.map((it) => it.table), ["a", "b"]);
  assert.equal(scene.tasks[0].nowMs, scene.clock.wallMs());
  scene.clock.advance(1_000);
  await scene.given(2);
  for (let hour = 1; hour <= 5; hour++) {
    await scene.nextHour(2 + 2 * hour);
    const { nowMs } = scene.tasks.at(-1)!;
    assert.equal(nowMs, scene.clock.wallMs());
    assert.ok(nowMs % HOUR < 5 * 60_000, "soon after the full hour");
  }
  assert.deepEqual(scene.lines, []);
  await scene.stop();
});

Deno.test("what is in a table's way is told once when it begins and once when it ends; the others go on", async () => {
  const scene = new Scene();
  scene.answer = ({ table }) =>
    table === "a"
      ? Promise.reject(new StallError("a is locked", { lane: "a", hint: "unlock it" }))
      : Promise.resolve(DONE);
  scene.reachable();
  await scene.given(2);
  for (let i = 2; i <= 4; i++) {
    scene.clock.advance(5 * 60_000);
    await scene.given(2 * i);
  }
  assert.deepEqual(scene.lines, ["warn a is locked (unlock it)"]);
  assert.equal(scene.faults.sentence, "a is locked");
  scene.answer = () => Promise.resolve(DONE);
  scene.clock.advance(5 * 60_000);
  await scene.given(10);
  assert.match(scene.lines.at(-1)!, /^info over after \d+\.\d s: a is locked/);
  assert.equal(scene.lines.length, 2);
  await scene.stop();
});

Deno.test("a table that is not looked after any more is no fault any more", async () => {
  const scene = new Scene();
  scene.answer = () => Promise.reject(new Error("it is broken"));
  scene.reachable();
  await scene.given(2);
  scene.tables = ["b"];
  scene.answer = () => Promise.resolve(DONE);
  scene.clock.advance(5 * 60_000);
  await scene.given(3);
  assert.deepEqual(scene.faults.current, []);
  await scene.stop();
});

Deno.test("that the database is away is told by the lanes, not once more for each table", async () => {
  const scene = new Scene();
  scene.answer = () => Promise.reject(new BackOffError("it is away"));
  scene.reachable();
  await scene.given(2);
  assert.deepEqual(scene.lines, []);
  const away = new AbortController();
  const waiting = scene.availability.failed(new BackOffError("away"), away.signal).catch(() => {});
  scene.clock.advance(2 * HOUR);
  await waiting;
  scene.answer = () => Promise.resolve(DONE);
  assert.equal(scene.tasks.length, 2, "nothing is asked while it is away");
  scene.reachable();
  await scene.given(4);
  await scene.stop();
});

Deno.test("a table with much to do has a turn now and then, and what it advises is told once", async () => {
  const scene = new Scene();
  let turns = 0;
  scene.answer = ({ table }) =>
    Promise.resolve({ more: table === "a" && ++turns < 4, hours: [], advice: `${table} needs an index` });
  scene.reachable();
  for (let turn = 0; turn < 4; turn++) {
    await scene.given(2 + turn);
    scene.clock.advance(1_000);
  }
  assert.deepEqual(scene.tasks.map((it) => it.table), ["a", "b", "a", "a", "a"]);
  await scene.nextHour(7);
  assert.deepEqual(scene.lines, ["warn a needs an index", "warn b needs an index"]);
  await scene.stop();
});

Deno.test("hours that could not be summed up are kept", async () => {
  const scene = new Scene();
  const [one, two] = [{ from: 1, to: 2 }, { from: 5, to: 9 }];
  scene.hours.set("a", [one, two]);
  scene.hours.set("b", [one, two]);
  scene.answer = ({ table }) =>
    table === "a" ? Promise.reject(new Error("broken")) : Promise.resolve({ ...DONE, hours: [two] });
  scene.reachable();
  await scene.given(2);
  assert.deepEqual(scene.tasks[0].hours, [one, two]);
  assert.deepEqual([scene.hours.get("a"), scene.hours.get("b")], [[one, two], [two]]);
  await scene.stop();
});

Deno.test("a stop ends it at once, whatever it is doing, and tells nothing", async () => {
  const idle = new Scene();
  await idle.stop();
  const busy = new Scene();
  busy.answer = (_task, signal) => {
    const { promise, reject } = Promise.withResolvers<Maintained>();
    signal.addEventListener("abort", () => reject(new Error("cut off")));
    return promise;
  };
  busy.reachable();
  await waitFor(() => busy.tasks.length === 1, { what: "the first turn" });
  await busy.stop();
  assert.deepEqual([idle.lines, busy.lines], [[], []]);
});

Deno.test("the gateway stops its upkeep with its lanes, and starts it again on the parts of a reload", async () => {
  const tables: string[] = [];
  const sink = Object.assign(new FakeSink(), {
    maintain: ({ table }: Maintenance) => (tables.push(table), Promise.resolve(DONE)),
  });
  const source = {
    async *arrivals() {},
    acknowledge() {},
    subscribe() {},
    async [Symbol.asyncDispose]() {},
  };
  const withTable = (table: string): Router => ({ ...router, kept: [keptTable(table)] });
  const parts = { source, spool: new FakeSpool([]), router: withTable("old"), sink };
  const gateway = new Gateway(parts, { faults: new Faults() });
  const stop = new AbortController();
  const running = gateway.run(stop.signal);
  await waitFor(() => tables.length === 1, { what: "the first upkeep" });
  await gateway.replace(() => Promise.resolve({ router: withTable("new") }));
  await waitFor(() => tables.length === 2, { what: "the upkeep of the new parts" });
  stop.abort();
  await running;
  assert.deepEqual(tables, ["old", "new"]);
});
