/**
 * Certificates for tests of TLS: an authority, a server's pair for localhost and 127.0.0.1, a client's pair.
 *
 * Made with openssl in the given folder, valid for a day. No secret of any use lies in them.
 */
import { run } from "./server_process.ts";

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

/** Makes all five files in `dir`. The server's certificate names localhost, 127.0.0.1 and ::1. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  const file = (name: string) => `${dir}/${name}`;
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const quiet = { cwd: dir };
  await run("openssl", [
    ...["req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "1"],
    ...["-subj", "/CN=Sluice test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ], quiet);
  for (const [name, commonName] of [["server", "localhost"], ["client", "sluice"]]) {
    const request = `${name}.csr`;
    await run("openssl", [
      ...["req", ...key, "-keyout", `${name}.key`, "-out", request, "-subj", `/CN=${commonName}`],
    ], quiet);
    const extension = name === "server"
      ? "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n"
      : "extendedKeyUsage=clientAuth\n";
    await Deno.writeTextFile(file(`${name}.ext`), extension);
    await run("openssl", [
      ...["x509", "-req", "-in", request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"],
      ...["-out", `${name}.pem`, "-days", "1", "-extfile", `${name}.ext`],
    ], quiet);
    await Deno.chmod(file(`${name}.key`), 0o644);
  }
  return {
    ca: file("ca.pem"),
    serverCert: file("server.pem"),
    serverKey: file("server.key"),
    clientCert: file("client.pem"),
    clientKey: file("client.key"),
  };
}
