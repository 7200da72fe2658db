/**
 * What is wrong with a text as JSON with comments, in words. A key that is there twice is an error, too: JSON would let
 * the last one win without a word.
 */
import { type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";

export interface SyntaxFault {
  readonly code: "syntax" | "duplicate-key";
  readonly message: string;
  readonly offset: number;
  readonly length: number;
  readonly fix?: string;
}

const WORDS: Readonly<Record<string, string>> = {
  InvalidSymbol: "keys and texts stand in double quotes",
  InvalidNumberFormat: "this is no number",
  PropertyNameExpected: "a key in double quotes is expected here",
  ValueExpected: "a value is expected here",
  ColonExpected: "between a key and its value there must be a :",
  CommaExpected: "a comma is missing before this",
  CloseBraceExpected: "a } is missing",
  CloseBracketExpected: "a ] is missing",
  EndOfFileExpected: "this stands behind the end of the configuration",
  UnexpectedEndOfComment: "a comment is not closed: */ is missing",
  UnexpectedEndOfString: `a text is not closed: a " is missing`,
  UnexpectedEndOfNumber: "this is no number",
  InvalidUnicode: "after \\u there must be four digits 0 to f",
  InvalidEscapeCharacter: "in a text a \\ is written \\\\",
  InvalidCharacter: "in a text this character is written with a \\",
};

/** The tree of a text that is a JSON object, or what is wrong with it. */
export function readTree(source: string): { readonly root?: Node; readonly faults: readonly SyntaxFault[] } {
  const errors: ParseError[] = [];
  const root = parseTree(source, errors, { allowTrailingComma: true });
  if (!root && isEmpty(source)) {
    const message = "there is no configuration in this file: expected a JSON object in braces";
    return {
      faults: [{
        code: "syntax",
        message,
        offset: 0,
        length: 1,
        fix: "`sluice init` writes a first one, under another name",
      }],
    };
  }
  // The first one is where it went wrong; the others mostly follow from it.
  const [first] = errors;
  if (first || !root) {
    const { offset, length } = first ?? { offset: 0, length: 1 };
    const words = first && WORDS[printParseErrorCode(first.error)];
    return {
      faults: [{
        code: "syntax",
        message: `not JSON: ${words ?? "this is not expected here"}`,
        offset: Math.min(offset, source.trimEnd().length),
        length: Math.max(1, length),
      }],
    };
  }
  if (root.type !== "object") {
    const here = root.type === "array" ? "a list" : `a ${root.type}`;
    const message = `expected a JSON object in braces, here is ${here}`;
    return { faults: [{ code: "syntax", message, offset: root.offset, length: 1 }] };
  }
  return { root, faults: [...duplicates(root, source)] };
}

/** Nothing but blanks and comments. */
function isEmpty(source: string): boolean {
  return source.replace(/\/\/[^\n]*|\/\*[^]*?(\*\/|$)/g, "").trim() === "";
}

function* duplicates(node: Node, source: string): Generator<SyntaxFault> {
  const lines = new Map<string, number>();
  for (const child of node.children ?? []) {
    const [key, value] = child.type === "property" ? child.children! : [undefined, child];
    if (key) {
      const first = lines.get(key.value);
      if (first !== undefined) {
        yield {
          code: "duplicate-key",
          message: `"${key.value}" is here twice, the first time in line ${first}: which one is meant?`,
          offset: key.offset,
          length: key.length,
        };
      }
      lines.set(key.value, first ?? source.slice(0, key.offset).split("\n").length);
    }
    if (value) yield* duplicates(value, source);
  }
}
