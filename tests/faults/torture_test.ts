import { eachDatabase, testWith } from "../servers/needs.ts";
import { torture } from "./torture.ts";

/** The short form of `deno task torture`. */
const FAULTS = 12;

eachDatabase((flavour) => {
  testWith(
    ["mosquitto", flavour],
    `${FAULTS} random faults lose nothing and double nothing with ${flavour}`,
    async () => {
      const seed = Number(Deno.env.get("SLUICE_SEED") ?? Math.floor(Math.random() * 2 ** 31));
      console.log(`SLUICE_SEED=${seed}`);
      await torture({ flavour, seed, faultsPerRound: FAULTS, enough: () => true });
    },
  );
});
