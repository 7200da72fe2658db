/**
 * A limit of memory for one program, as systemd's `MemoryMax` makes it: a control group of its own. Whoever wants more is
 * killed by the kernel. It takes root, and a machine that lets groups be made (version 1 or 2 of them).
 */
const ROOTS = [
  { root: "/sys/fs/cgroup/memory", file: "memory.limit_in_bytes" },
  { root: "/sys/fs/cgroup", file: "memory.max" },
];

const nameOf = () => `sluice-${crypto.randomUUID().slice(0, 8)}`;

/** A new group's folder, with the file that its limit is in; undefined where there can be none. */
function group(): { dir: string; file: string } | undefined {
  for (const { root, file } of ROOTS) {
    const dir = `${root}/${nameOf()}`;
    try {
      Deno.mkdirSync(dir);
    } catch {
      continue;
    }
    try {
      Deno.statSync(`${dir}/${file}`);
      return { dir, file: `${dir}/${file}` };
    } catch {
      Deno.removeSync(dir);
    }
  }
}

/** Starts a program in the group. */
const commandIn = (dir: string) => ["sh", "-c", `echo $$ > ${dir}/cgroup.procs && exec "$@"`, "sh"];

/** Whether memory can be limited here; tried once. */
export function findMemoryLimit(): boolean {
  if (Deno.uid() !== 0) return false;
  const made = group();
  if (!made) return false;
  try {
    Deno.writeTextFileSync(made.file, `${64 * 1024 * 1024}`);
    const [program, ...args] = commandIn(made.dir);
    return new Deno.Command(program, { args: [...args, "true"], stderr: "null" }).outputSync().success;
  } catch {
    return false;
  } finally {
    Deno.removeSync(made.dir);
  }
}

export class MemoryLimit implements Disposable {
  /** Goes before the command of the program that shall have the limit. */
  readonly command: readonly string[];
  readonly #dir: string;
  readonly #file: string;

  /** Without a limit at first. */
  constructor() {
    const { dir, file } = group()!;
    this.#dir = dir;
    this.#file = file;
    this.command = commandIn(dir);
  }

  /** Throws where so much is in use already. */
  set(megabytes: number): void {
    Deno.writeTextFileSync(this.#file, `${megabytes * 1024 * 1024}`);
  }

  lift(): void {
    Deno.writeTextFileSync(this.#file, this.#file.endsWith("max") ? "max" : "-1");
  }

  /** Megabytes that its programs use, files in the cache left out. */
  get usedMb(): number {
    const text = Deno.readTextFileSync(`${this.#dir}/memory.stat`);
    return Number(/^(?:total_rss|anon) (\d+)$/m.exec(text)![1]) / 1024 / 1024;
  }

  /** Its programs must have ended. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.#dir);
  }
}
