/**
 * What a disk may hold after the power went: everything that was synced, and of the rest whatever it likes.
 *
 * Of each write since a file's last fsync every sector of 512 bytes may be there or not, whatever came before or after
 * it; a change of length likewise. Creating, renaming and removing files is written to the file system's journal in
 * order, so of these a first part may be there; any fsync makes all of them last. That is ext4, and then some.
 */
import type { DiskEvent } from "../servers/faulty_disk.ts";
import type { Random } from "./schedule.ts";

const SECTOR_BYTES = 512;

type Change = Extract<DiskEvent, { kind: "write" | "truncate" }>;
type NameChange = { readonly path: string; readonly file: File | null };

/** Bytes that grow without being copied each time. */
class Content {
  #bytes: Uint8Array;
  #length: number;

  constructor(bytes = new Uint8Array()) {
    this.#bytes = bytes;
    this.#length = bytes.length;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  apply(change: Change): void {
    if (change.kind === "truncate") return this.#resize(change.length);
    const end = change.at + change.bytes.length;
    if (end > this.#length) this.#resize(end);
    this.#bytes.set(change.bytes, change.at);
  }

  #resize(length: number): void {
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(length * 2);
      larger.set(this.bytes);
      this.#bytes = larger;
    }
    if (length < this.#length) this.#bytes.fill(0, length, this.#length);
    this.#length = length;
  }
}

/** A file, whatever it is called. */
class File {
  readonly #synced = new Content();
  unsynced: Change[] = [];

  sync(): void {
    for (const it of this.unsynced) this.#synced.apply(it);
    this.unsynced = [];
  }

  /** `chance` that a sector is there. */
  afterLoss(random: Random, chance: number): Uint8Array {
    const content = new Content(this.#synced.bytes.slice());
    for (const it of this.unsynced) {
      if (it.kind === "truncate") {
        if (random() < chance) content.apply(it);
        continue;
      }
      for (let from = 0; from < it.bytes.length;) {
        const to = Math.min(it.bytes.length, from + SECTOR_BYTES - (it.at + from) % SECTOR_BYTES);
        const sector = { ...it, at: it.at + from, bytes: it.bytes.subarray(from, to) };
        if (random() < chance) content.apply(sector);
        from = to;
      }
    }
    return content.bytes;
  }
}

export class UnsyncedDisk {
  /** As the running system sees them, and as they are on the disk. */
  readonly #names = new Map<string, File>();
  readonly #lasting = new Map<string, File>();
  #changes: NameChange[] = [];

  add(event: DiskEvent): void {
    const file = this.#names.get(event.path);
    switch (event.kind) {
      case "write":
      case "truncate":
        return void (file ?? this.#create(event.path)).unsynced.push(event);
      case "sync":
        file?.sync();
        for (const it of this.#changes) apply(this.#lasting, it);
        this.#changes = [];
        return;
      case "rename":
        if (!file) return;
        this.#name({ path: event.path, file: null });
        return this.#name({ path: event.to, file });
      case "unlink":
        return this.#name({ path: event.path, file: null });
    }
  }

  #create(path: string): File {
    const file = new File();
    this.#name({ path, file });
    return file;
  }

  #name(change: NameChange): void {
    apply(this.#names, change);
    this.#changes.push(change);
  }

  /** The files that are there when the power comes back. */
  afterLoss(random: Random): Map<string, Uint8Array> {
    const names = new Map(this.#lasting);
    const kept = Math.floor(random() * (this.#changes.length + 1));
    for (const it of this.#changes.slice(0, kept)) apply(names, it);
    // Mostly something is there; now and then all or nothing.
    const chance = [0, 1, random(), random()][Math.floor(random() * 4)];
    const files = new Map<File, Uint8Array>();
    return new Map([...names].map(([path, file]) => {
      const bytes = files.get(file) ?? file.afterLoss(random, chance);
      files.set(file, bytes);
      return [path, bytes];
    }));
  }
}

function apply(names: Map<string, File>, { path, file }: NameChange): void {
  if (file) names.set(path, file);
  else names.delete(path);
}
