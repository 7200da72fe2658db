/**
 * A seeded random schedule of faults for a chosen time, and the sums at its end: `deno task torture --for 30m`.
 *
 * Every few faults publishing stops, everything drains, and the oracle judges. The first loss or double ends the
 * run with exit code 1 and the seed that finds it again.
 */
import { parseArgs } from "node:util";
import { parseDuration } from "../../src/units.ts";
import type { Flavour } from "../servers/database.ts";
import { databases } from "../servers/needs.ts";
import { complaint } from "./oracle.ts";
import { chooseFault, type Random, seeded } from "./schedule.ts";
import { Surroundings } from "./surroundings.ts";
import { tail, World } from "./world.ts";

/** Faults between two judgements. */
const FAULTS_PER_ROUND = 15;

export interface TortureOptions {
  readonly flavour: Flavour;
  readonly seed: number;
  /** When to stop: asked after each round. */
  readonly enough: (faults: number) => boolean;
  readonly faultsPerRound?: number;
  readonly report?: (line: string) => void;
}

/** Returns how often each fault was inflicted; throws with seed and sums at the first loss or double. */
export async function torture(
  options: TortureOptions,
): Promise<{ faults: Map<string, number>; accepted: number }> {
  const { flavour, seed, enough, faultsPerRound = FAULTS_PER_ROUND, report = () => {} } = options;
  const random = seeded(seed);
  const faults = new Map<string, number>();
  let count = 0;
  await using surroundings = await Surroundings.open();
  for (const missing of surroundings.missing) report(`left out: ${missing}`);
  await using world = await World.start({ flavour, surroundings });
  do {
    world.publish();
    const done = await round(world, random, faultsPerRound);
    for (const name of done) faults.set(name, (faults.get(name) ?? 0) + 1);
    count += done.length;
    const verdict = await world.settle();
    const wrong = complaint(verdict);
    const last = `seed ${seed}, ${flavour}, ${count} faults, the last: ${done.join(", ")}`;
    if (wrong) throw new Error(`${wrong}\n${last}\n${tail(world.sluice.output)}`);
    report(
      `${count} faults: ${verdict.accepted} accepted = ${verdict.stored} stored + ${verdict.dead} dead, 0 lost, 0 doubled`,
    );
  } while (!enough(count));
  return { faults, accepted: world.oracle.accepted };
}

async function round(world: World, random: Random, count: number): Promise<string[]> {
  const done: string[] = [];
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, 800 * random()));
    const fault = chooseFault(random, world);
    try {
      await fault.inflict(world, random);
    } catch (error) {
      throw new Error(`${fault.name}: ${(error as Error).message}\nafter: ${done.join(", ")}`, {
        cause: error,
      });
    }
    done.push(fault.name);
  }
  return done;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      for: { type: "string", default: "10m" },
      seed: { type: "string" },
      database: { type: "string" },
    },
  });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  const flavours = values.database ? [values.database as Flavour] : databases();
  const sliceMs = parseDuration(values.for) / flavours.length;
  for (const flavour of flavours) {
    console.log(`torture on ${flavour} for ${Math.round(sliceMs / 1000)} s, seed ${seed}`);
    const end = performance.now() + sliceMs;
    const { faults, accepted } = await torture({
      flavour,
      seed,
      enough: () => performance.now() > end,
      report: (line) => console.log(`  ${line}`),
    });
    console.log(`${flavour}: ${accepted} accepted, 0 lost, 0 doubled, seed ${seed}`);
    for (const [name, times] of [...faults].sort((a, b) => b[1] - a[1])) {
      console.log(`  ${String(times).padStart(5)} x ${name}`);
    }
  }
}
