/**
 * What every database makes of a table's design alike.
 */
import type { Shape, TableDesign } from "./message.ts";

/** The table as its routes want it; where nobody says, as this one does. */
export function designOf({ columns, key, design }: Shape): TableDesign {
  return design ?? {
    columns,
    key,
    series: [],
    time: columns.find((it) => it.role === "received")?.name,
    retentionMs: undefined,
    hourly: false,
    isOneOfMany: false,
  };
}

/** The name of the column that numbers the rows of a table without a key; undefined where it has one. */
export function ownId({ key, columns }: Pick<TableDesign, "key" | "columns">): string | undefined {
  if (key.length > 0) return undefined;
  return ["id", "row_id"].find((name) => !columns.some((it) => it.name.toLowerCase() === name));
}
