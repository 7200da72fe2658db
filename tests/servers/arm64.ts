/**
 * Programs for arm64 on another processor: Debian's qemu and its libraries for that processor.
 */
import { exists } from "./database.ts";
import { findProgram } from "./find_program.ts";

/** Where Debian puts the libraries (libc6-arm64-cross, libgcc-s1-arm64-cross). */
export const ARM64_ROOT = "/usr/aarch64-linux-gnu";

export function findArm64(): boolean {
  return findProgram("qemu-aarch64-static") !== undefined &&
    ["libc.so.6", "libgcc_s.so.1"].every((it) => exists(`${ARM64_ROOT}/lib/${it}`));
}

/** The command that runs `program` on an emulated machine with pages of `pageBytes`: 4096 as a Pi 4, 16384 as a Pi 5. */
export function onArm64(program: string, pageBytes: number): string[] {
  return ["qemu-aarch64-static", "-p", `${pageBytes}`, "-L", ARM64_ROOT, program];
}
