// Node's own HTTP/2 server (nghttp2), for tests: node http2_server.mjs CERT. Prints its port, then a line for each event.
import { createSecureServer, constants } from "node:http2";
import { readFileSync } from "node:fs";

const pem = readFileSync(process.argv[2]);
const say = (word) => process.stdout.write(word + "\n");
const server = createSecureServer({ key: pem, cert: pem, allowHTTP1: true, settings: { maxConcurrentStreams: 20 } });
server.on("session", (session) => {
  say("session");
  session.on("error", (error) => say("session-error " + error.code));
  session.on("close", () => say("session-closed"));
});
server.on("stream", (stream, headers) => {
  const pieces = [];
  stream.on("error", () => {});
  stream.on("aborted", () => say("aborted " + stream.rstCode));
  stream.on("data", (piece) => pieces.push(piece));
  const path = headers[":path"];
  if (path !== "/echo") say("asked " + path);
  if (path === "/refuse") {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    return;
  }
  if (path === "/cut") {
    stream.respond({ ":status": 200 });
    stream.write("data: 1\n\n", () => stream.destroy(new Error("cut")));
    return;
  }
  stream.on("end", () => {
    const body = Buffer.concat(pieces);
    if (path === "/echo") {
      stream.respond({ ":status": 200 });
      stream.end(body);
    } else if (path === "/part") {
      // Graceful: GOAWAY now, and this answer, begun, is still brought to its end.
      stream.respond({ ":status": 200 });
      stream.write("data: 1\n\n", () => {
        stream.session.close();
        setImmediate(() => stream.end("data: 2\n\n"));
      });
    } else if (path === "/early") {
      stream.additionalHeaders({ ":status": 103, link: "</x>" });
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-cost": "1" }));
      stream.end("hello");
    } else {
      stream.respond({ ":status": 200 });
      stream.write("data: 1\n\n");
    }
  });
});
server.listen(0, "127.0.0.1", () => say(String(server.address().port)));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
