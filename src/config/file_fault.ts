/**
 * Why a file cannot be read, in words instead of a system call's.
 */
import { messageOf } from "../errors.ts";

export function fileFault(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.IsADirectory || /is a directory/i.test(messageOf(error))) {
    return "it is a folder";
  }
  if (error instanceof Deno.errors.PermissionDenied) return "this user may not read it";
  return messageOf(error);
}

/** What to do about it. */
export function fileHint(error: unknown, path: string): string | undefined {
  return error instanceof Deno.errors.PermissionDenied
    ? `let the user that the gateway runs as read it: chown sluice '${path}'`
    : undefined;
}
