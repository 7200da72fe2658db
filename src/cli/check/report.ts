/**
 * What `check` has to say: findings, each with its place in the file, as they come; what was found well; the verdict.
 */
import { type Finding, formatFinding, placeOf } from "../../config/finding.ts";
import { type LoadedConfig, placeInFile } from "../../config/load.ts";
import type { Io } from "../command.ts";

export type Found = Pick<Finding, "severity" | "code" | "message" | "fix">;
export type Path = readonly (string | number)[];

/** Prints findings as they come, and counts them. */
export class Report {
  readonly #io: Io;
  readonly #json: boolean;
  readonly #colour: boolean;
  #errors = 0;
  #warnings = 0;

  constructor(io: Io, json: boolean) {
    this.#io = io;
    this.#json = json;
    this.#colour = !json && Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");
  }

  add(findings: readonly Finding[], source: string | undefined): void {
    for (const finding of findings) {
      if (finding.severity === "error") this.#errors++;
      if (finding.severity === "warning") this.#warnings++;
      const { severity, code, message, file, line, column, fix = null } = finding;
      this.#io.out(
        this.#json
          ? JSON.stringify({ severity, code, message, file, line, column, fix })
          : formatFinding(finding, source, this.#colour) + "\n",
      );
    }
  }

  /** Something was looked at and is well. */
  good(text: string): void {
    if (!this.#json) this.#io.out(`ok: ${text}`);
  }

  /** Prints the verdict and returns the exit code: `code`, unless that is 0 and there were errors. */
  verdict(path: string, code: number): number {
    const count = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
    const found = `${count(this.#errors, "error")}, ${count(this.#warnings, "warning")}`;
    const result = this.#errors > 0 && code === 0 ? 1 : code;
    if (!this.#json) {
      this.#io.out(result === 0 ? `${path} is good (${found})` : `${path} is not good: ${found}`);
    }
    return result;
  }
}

/** A report on one file that was read without an error: places are given by their keys. */
export class FileReport {
  readonly loaded: LoadedConfig;
  readonly #report: Report;

  constructor(report: Report, loaded: LoadedConfig) {
    this.#report = report;
    this.loaded = loaded;
  }

  /** At the value of the keys, or the nearest one above that is written in the file. */
  at(path: Path, found: Found): void {
    const { source, path: file } = this.loaded;
    const { offset, length } = placeInFile(source, path);
    this.#report.add([{ ...found, file, ...placeOf(source, offset), length }], source);
  }

  /** At what a person has written for a route (its number among those that presets stand for), and for one of its columns. */
  atRoute(index: number, found: Found, column?: string): void {
    const { source, madeFrom } = this.loaded;
    const route = ["routes", madeFrom[index]];
    const written = [...(column === undefined ? [] : [["columns", column]]), ["table"], ["preset"], []]
      .map((it) => [...route, ...it]).find((it) => placeInFile(source, it).found);
    this.at(written ?? route, found);
  }

  good(text: string): void {
    this.#report.good(text);
  }
}
