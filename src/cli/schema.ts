/**
 * `sluice schema`: the JSON Schema of the configuration, for editors.
 */
import type { Command } from "./command.ts";

export const schema: Command = {
  name: "schema",
  usage: "",
  summary: "the JSON Schema of the configuration",
  options: {},
  async run(_args, io) {
    const { jsonSchema } = await import("../config/json_schema.ts");
    io.out(JSON.stringify(jsonSchema(), null, 2));
    return 0;
  },
};
