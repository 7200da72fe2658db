/**
 * Ports for private servers: a number on 127.0.0.1 that nobody listens on.
 *
 * They lie below the range from which the kernel takes the ports of outgoing connections, so that a server which
 * is stopped and started again finds its port still free. It does not reserve the port: who starts a server must
 * be ready to try another one.
 */

const PORT_MIN = 10_240;
const PORT_MAX = 32_000;

const given = new Set<number>();

/** A TCP port on 127.0.0.1 that was free a moment ago and was not given out by this process before. */
export function freePort(): number {
  for (let attempt = 0; attempt < 1000; attempt++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if (given.has(port)) continue;
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) continue;
      throw error;
    }
    given.add(port);
    return port;
  }
  throw new Error(`no free port between ${PORT_MIN} and ${PORT_MAX} on 127.0.0.1`);
}
