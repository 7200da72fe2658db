/**
 * What `sluice check --json` finds.
 */
import { type ProgramOptions, sluice } from "./program.ts";

export interface Finding {
  readonly severity: "error" | "warning" | "note";
  readonly code: string;
  readonly message: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly fix: string | null;
}

export async function findings(
  file: string,
  options: ProgramOptions = {},
): Promise<{ readonly code: number; readonly all: readonly Finding[] }> {
  const { code, out } = await sluice(["check", "--json", "-c", file], options);
  return { code, all: out.split("\n").filter(Boolean).map((line) => JSON.parse(line)) };
}

/** What counts for the verdict. */
export const told = (all: readonly Finding[]) => all.filter(({ severity }) => severity !== "note");

export function only(all: readonly Finding[], code: string): Finding {
  const found = all.filter((it) => it.code === code);
  if (found.length !== 1) {
    throw new Error(`${found.length} findings ${code} in ${JSON.stringify(all, null, 1)}`);
  }
  return found[0];
}
