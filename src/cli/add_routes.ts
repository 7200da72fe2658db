/**
 * Adds routes to a configuration file as its owner would: behind the others, with all comments where they were.
 *
 * Promises that the file is the old one or the new one, whole and loadable, whatever happens in between, and that it
 * keeps its owner and its mode.
 */
import { applyEdits, type Edit, findNodeAtLocation, type Node, parseTree, stripComments } from "jsonc-parser";
import { basename, dirname } from "node:path";
import { loadConfig, WrongConfigurationError } from "../config/load.ts";
import { routeText } from "../discover/route_text.ts";
import { messageOf, SluiceError } from "../errors.ts";
import type { RouteOptions } from "../route/options.ts";

/** Throws `SluiceError` where the file stays as it was. */
export async function addRoutes(path: string, routes: readonly RouteOptions[]): Promise<void> {
  const { source } = await loadConfig(path);
  // A link stays a link.
  const file = await Deno.realPath(path);
  const draft = `${dirname(file)}/.${basename(file)}.${crypto.randomUUID().slice(0, 8)}`;
  try {
    await writeDraft(draft, withRoutes(source, routes), await Deno.stat(file));
    await loadConfig(draft);
    await Deno.rename(draft, file);
  } catch (cause) {
    await Deno.remove(draft).catch(() => {});
    const why = cause instanceof WrongConfigurationError && cause.findings.length > 0
      ? `it would be wrong: ${cause.findings[0].message}`
      : messageOf(cause);
    throw new SluiceError(`the routes were not added, ${path} is as it was: ${why}`, {
      cause,
      hint: "without --write they are printed, to be copied by hand",
    });
  }
}

async function writeDraft(draft: string, text: string, like: Deno.FileInfo): Promise<void> {
  using file = await Deno.open(draft, { write: true, createNew: true, mode: 0o600 });
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
  const own = await file.stat();
  if (own.uid !== like.uid || own.gid !== like.gid) await Deno.chown(draft, like.uid, like.gid);
  if (like.mode !== null) await Deno.chmod(draft, like.mode & 0o777);
}

/** The text of a configuration that is right, with the routes in it. Pure. */
export function withRoutes(source: string, routes: readonly RouteOptions[]): string {
  const root = parseTree(source, [], { allowTrailingComma: true })!;
  const list = findNodeAtLocation(root, ["routes"]);
  const unit = /\n(\t| +)"/.exec(source)?.[1] ?? "  ";
  const texts = (indent: string) =>
    routes.map((route) => indent + routeText(route, indent, unit)).join(",\n");
  const edits = list
    ? append(source, list, texts(indentAt(source, list.offset) + unit))
    : append(source, root, `${unit}"routes": [\n${texts(unit + unit)}\n${unit}]`);
  return applyEdits(source, edits);
}

/** Puts lines behind the last element of an array or the last property of an object, and behind its comments. */
function append(source: string, node: Node, lines: string): Edit[] {
  const last = node.children?.at(-1);
  const from = last ? last.offset + last.length : node.offset + 1;
  const bracket = node.offset + node.length - 1;
  const behind = source.slice(from, bracket);
  const needsComma = last !== undefined && !stripComments(behind).includes(",");
  const comma: Edit[] = needsComma ? [{ offset: from, length: 0, content: "," }] : [];
  const end = from + behind.trimEnd().length;
  const eol = source.includes("\r\n") ? "\r\n" : "\n";
  const content = `\n${lines}\n${indentAt(source, node.offset)}`.replaceAll("\n", eol);
  return [...comma, { offset: end, length: bracket - end, content }];
}

/** What the line of a place begins with. */
function indentAt(source: string, offset: number): string {
  const line = source.slice(source.lastIndexOf("\n", offset - 1) + 1, offset);
  return /^[ \t]*/.exec(line)![0];
}
