/**
 * What the broker's session holds, noted in a file beside the spool: the next process must know what to unsubscribe.
 *
 * Promises that a note is whole, and that it is written when `write` returns (to the kernel: `kill -9` does not undo
 * it, a power cut may). A note for another client id is another session's and counts as none, as does one that cannot
 * be read. It is no ground to fail: without it the broker is asked for everything again.
 */
export class SessionFile {
  readonly #path: string;
  readonly #clientId: string;

  constructor(path: string, clientId: string) {
    this.#path = path;
    this.#clientId = clientId;
  }

  async read(): Promise<readonly string[]> {
    try {
      const { clientId, filters } = JSON.parse(await Deno.readTextFile(this.#path));
      return clientId === this.#clientId && Array.isArray(filters) ? filters : [];
    } catch {
      return [];
    }
  }

  /** In one go, because messages of the session may be on disk a moment later. */
  write(filters: readonly string[]): void {
    try {
      const text = JSON.stringify({ clientId: this.#clientId, filters }, null, 1) + "\n";
      Deno.writeTextFileSync(`${this.#path}.new`, text);
      Deno.renameSync(`${this.#path}.new`, this.#path);
    } catch {
      // A full disk: the note that lies there is older than it could be.
    }
  }
}
