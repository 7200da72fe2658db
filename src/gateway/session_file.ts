/**
 * What the next process must know of the broker and its session, noted in a file beside the spool: the filters that
 * the session holds, for some may have to be unsubscribed, and the broker's counter of dropped messages.
 *
 * Promises that a note is whole, and that it is written when `write` returns (to the kernel: `kill -9` does not undo
 * it, a power cut may). A note for another client id is another session's and counts as none, as does one that cannot
 * be read. It is no ground to fail: without it the broker is asked for everything again.
 */
export interface SessionNote {
  readonly filters: readonly string[];
  readonly dropped?: number;
}

export class SessionFile {
  readonly #path: string;
  readonly #clientId: string;
  #note: SessionNote = { filters: [] };

  constructor(path: string, clientId: string) {
    this.#path = path;
    this.#clientId = clientId;
  }

  async read(): Promise<SessionNote> {
    try {
      const { clientId, filters, dropped } = JSON.parse(await Deno.readTextFile(this.#path));
      if (clientId === this.#clientId && Array.isArray(filters)) this.#note = { filters, dropped };
    } catch {
      // There is none.
    }
    return this.#note;
  }

  /** In one go, because messages of the session may be on disk a moment later. */
  write(changes: Partial<SessionNote>): void {
    this.#note = { ...this.#note, ...changes };
    try {
      const text = JSON.stringify({ clientId: this.#clientId, ...this.#note }, null, 1) + "\n";
      Deno.writeTextFileSync(`${this.#path}.new`, text);
      Deno.renameSync(`${this.#path}.new`, this.#path);
    } catch {
      // A full disk: the note that lies there is older than it could be.
    }
  }
}
