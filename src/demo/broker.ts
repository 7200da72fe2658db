/**
 * A broker inside the process, so that the demonstration needs nothing installed: aedes on a free loopback port.
 *
 * It speaks MQTT 3.1.1 and keeps sessions in memory. It is a stand-in for mosquitto at a desk, not for use at home.
 */
import { Aedes } from "aedes";
import { createServer, type Socket } from "node:net";

export interface EmbeddedBroker extends AsyncDisposable {
  /** `mqtt://127.0.0.1:PORT` */
  readonly url: string;
}

export async function startEmbeddedBroker(): Promise<EmbeddedBroker> {
  const aedes = await Aedes.createBroker();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    aedes.handle(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as { port: number };
  return {
    url: `mqtt://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => aedes.close(resolve));
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
