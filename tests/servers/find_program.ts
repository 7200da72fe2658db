/**
 * Where a program lies: $PATH, and the folders for servers that an ordinary user's $PATH leaves out.
 */

/** Absolute path of an installed program, or undefined. */
export function findProgram(name: string): string | undefined {
  if (name.startsWith("/")) return isFile(name) ? name : undefined;
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/usr/local/sbin", "/sbin"];
  for (const folder of folders) {
    if (folder && isFile(`${folder}/${name}`)) return `${folder}/${name}`;
  }
  return undefined;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
