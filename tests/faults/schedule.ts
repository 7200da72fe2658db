/**
 * What is done to the world: a table of faults, each with its own way back, and a random choice among them.
 *
 * Every fault is over when its promise resolves, but the world may still be busy recovering: that is the point.
 */
import type { World } from "./world.ts";

export type Random = () => number;

interface Fault {
  readonly name: string;
  /** How often it is chosen, relative to the others. */
  readonly weight: number;
  /** Where it cannot be done it is not chosen. */
  readonly possible?: (world: World) => boolean;
  readonly inflict: (world: World, random: Random) => Promise<void>;
}

/** 128 + SIGSEGV. */
const SEGMENTATION_FAULT = 139;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
/** A moment of up to `ms`, at random. */
const moment = (random: Random, ms: number) => pause(ms * random());

export const FAULTS: readonly Fault[] = [
  {
    name: "kill -9 gateway",
    weight: 10,
    async inflict({ sluice }) {
      await sluice.kill("SIGKILL");
      await sluice.start();
    },
  },
  {
    name: "SIGTERM gateway",
    weight: 1,
    async inflict({ sluice, surroundings }) {
      const code = await sluice.stop();
      // With libfaketime in it Deno crashes in its very last step, once in ten times (never in 120 without it).
      const crashed = code === SEGMENTATION_FAULT && /"stopped; [^\n]*\n$/.test(sluice.output);
      if (code !== 0 && !(crashed && surroundings?.env.LD_PRELOAD)) {
        throw new Error(`SIGTERM ended with exit code ${code}:\n${sluice.output}`);
      }
      await sluice.start();
    },
  },
  {
    name: "SIGSTOP gateway",
    weight: 1,
    async inflict({ sluice }, random) {
      await sluice.kill("SIGSTOP");
      await moment(random, 4_000);
      await sluice.kill("SIGCONT");
    },
  },
  {
    name: "kill -9 database",
    weight: 3,
    async inflict({ database }, random) {
      await database.kill("SIGKILL");
      await moment(random, 500);
      await database.restart();
    },
  },
  {
    name: "SIGSTOP database",
    weight: 1,
    async inflict({ database }, random) {
      await database.kill("SIGSTOP");
      await moment(random, 5_000);
      await database.kill("SIGCONT");
    },
  },
  {
    name: "kill -9 both",
    weight: 1,
    async inflict({ sluice, database }) {
      await Promise.all([sluice.kill("SIGKILL"), database.kill("SIGKILL")]);
      await Promise.all([sluice.start(), database.restart()]);
    },
  },
  { name: "cut broker", weight: 3, inflict: ({ brokerProxy }) => Promise.resolve(brokerProxy.cut()) },
  { name: "cut database", weight: 3, inflict: ({ databaseProxy }) => Promise.resolve(databaseProxy.cut()) },
  {
    name: "hold broker",
    weight: 1,
    async inflict({ brokerProxy }, random) {
      brokerProxy.hold(random() < 0.5 ? "up" : "down");
      await moment(random, 5_000);
      brokerProxy.release();
    },
  },
  {
    name: "hold database",
    weight: 1,
    async inflict({ databaseProxy }, random) {
      databaseProxy.hold(random() < 0.5 ? "up" : "down");
      await moment(random, 3_000);
      databaseProxy.release();
    },
  },
  {
    name: "hold, kill -9 gateway, release",
    weight: 1,
    async inflict({ sluice, databaseProxy, brokerProxy }, random) {
      const proxy = random() < 0.5 ? databaseProxy : brokerProxy;
      proxy.hold("up");
      await moment(random, 200);
      await sluice.kill("SIGKILL");
      const started = sluice.start();
      await moment(random, 1_000);
      proxy.release();
      await started;
    },
  },
  {
    name: "swallow acknowledgements, cut",
    weight: 1,
    async inflict({ brokerProxy }, random) {
      brokerProxy.swallow("up");
      await moment(random, 300);
      brokerProxy.cut();
      brokerProxy.release();
    },
  },
  {
    name: "swallow COMMIT's answer, cut",
    weight: 1,
    async inflict({ databaseProxy }, random) {
      databaseProxy.swallow("down");
      await moment(random, 300);
      databaseProxy.cut();
      databaseProxy.release();
    },
  },
  {
    name: "database refuses connections",
    weight: 1,
    async inflict({ databaseProxy }, random) {
      await databaseProxy.refuse(true);
      databaseProxy.cut();
      await moment(random, 2_000);
      await databaseProxy.refuse(false);
    },
  },
  {
    name: "full disk",
    weight: 1,
    possible: ({ surroundings }) => surroundings?.disk !== undefined,
    async inflict({ surroundings, sluice }, random) {
      await surroundings!.fill();
      await moment(random, 3_000);
      // A gateway that starts on a full disk must wait for space as well.
      if (random() < 0.3) await sluice.kill("SIGKILL");
      const started = random() < 0.5;
      if (started && !sluice.running) sluice.spawn();
      await moment(random, 1_000);
      await surroundings!.free();
      if (!sluice.running) await sluice.start();
    },
  },
  {
    name: "clock jumps",
    weight: 1,
    possible: ({ surroundings }) => surroundings?.hasClock ?? false,
    async inflict({ surroundings }, random) {
      const jumps = [3_600, -3_600, -86_400 * 400, 86_400 * 3_650, 0];
      await surroundings!.setClock(jumps[Math.floor(random() * jumps.length)]);
      await moment(random, 1_000);
    },
  },
];

export function chooseFault(random: Random, world: World): Fault {
  const possible = FAULTS.filter((it) => it.possible?.(world) ?? true);
  let at = random() * possible.reduce((sum, { weight }) => sum + weight, 0);
  return possible.find(({ weight }) => (at -= weight) < 0) ?? possible[0];
}

/** mulberry32: small, seeded, good enough to choose faults. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
