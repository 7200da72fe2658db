/**
 * One thing that is wrong, or could be better, with its place in the file; printed as a compiler would.
 */
import { styleText } from "node:util";

export interface Finding {
  readonly severity: "error" | "warning" | "note";
  /** Short and stable, for programs: `unknown-key`. */
  readonly code: string;
  readonly message: string;
  readonly file: string;
  /** From 1; 0 where the finding has no place in the file. */
  readonly line: number;
  readonly column: number;
  /** Characters to underline. */
  readonly length: number;
  /** What to do: a key that was meant, or SQL that mends it. */
  readonly fix?: string;
}

/** Where a text lies in a source. */
export function placeOf(source: string, offset: number): { line: number; column: number } {
  const before = source.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: [...before.slice(lineStart)].length + 1 };
}

/** A line of the file without its secrets: passwords in URLs, and values of password and token. Its length stays. */
function withoutSecrets(line: string): string {
  const hidden = (text: string) => "*".repeat(text.length);
  return line
    .replace(/(:\/\/[^:@/\s"]*:)([^@\s"]+)(?=@)/g, (_, before, secret) => before + hidden(secret))
    .replace(
      /("(?:password|token)"\s*:\s*")((?:[^"\\]|\\.)*)/g,
      (_, before, secret) => before + hidden(secret),
    );
}

const WIDTH_MAX = 100;

/** The finding with a frame of the source around it. `colour` only where a terminal will show it. */
export function formatFinding(finding: Finding, source: string | undefined, colour = false): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string) =>
    colour ? styleText(format, text, { validateStream: false }) : text;
  const { severity, code, message, file, line, column, length, fix } = finding;
  const name = paint(
    ["bold", severity === "error" ? "red" : severity === "warning" ? "yellow" : "cyan"],
    severity,
  );
  const lines = [`${name}[${code}]: ${message}`];
  const text = line > 0 ? source?.split("\n")[line - 1] : undefined;
  if (line > 0) lines.push(`  --> ${file}:${line}:${column}`);
  else if (file) lines.push(`  --> ${file}`);
  if (text !== undefined) {
    const margin = " ".repeat(String(line).length);
    const from = Math.max(0, column - 1 - WIDTH_MAX / 2);
    const shown = [...withoutSecrets(text).replaceAll("\t", " ")].slice(from, from + WIDTH_MAX).join("")
      .trimEnd();
    const carets = "^".repeat(Math.max(1, Math.min(length, [...shown].length - (column - 1 - from))));
    lines.push(
      `${margin} |`,
      `${line} | ${shown}`,
      `${margin} | ${" ".repeat(column - 1 - from)}${paint("red", carets)}`,
    );
  }
  if (fix) lines.push(`   = help: ${fix.replaceAll("\n", "\n           ")}`);
  return lines.join("\n");
}
