/**
 * Names and texts as SQL. Everything that comes from a configuration or a message goes through here or is bound.
 */
export function quote(identifier: string): string {
  if (identifier === "" || identifier.includes("\0")) {
    throw new TypeError(`${JSON.stringify(identifier)} cannot be an identifier`);
  }
  return "`" + identifier.replaceAll("`", "``") + "`";
}

/** A text as SQL under the sessions' own `sql_mode`, in which a backslash escapes. Control characters are left out. */
export function textSql(text: string): string {
  // deno-lint-ignore no-control-regex -- that is what it is for
  return `'${text.replace(/[\u0000-\u001f\u007f]/g, "").replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}

const LENGTH_MAX = 64;

/** Why MySQL takes no such name for a column or a table; undefined where it does. */
export function identifierProblem(name: string): string | undefined {
  const length = [...name].length;
  if (length > LENGTH_MAX) return `has ${length} characters, MySQL's limit is ${LENGTH_MAX}`;
  if (/\s$/.test(name)) return "ends with a space, which MySQL does not take";
  if (name.includes("\0")) return "has the character NUL in it";
  return undefined;
}
