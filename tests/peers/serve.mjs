// What every server here needs: a port, JSON in and out, and an end when its parent ends.
import { createServer } from 'node:http';

/** Listens on a free port of loopback and tells its URL on the first line of stdout. */
export async function serve(makeListener) {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${server.address().port}`;
  server.on('request', makeListener(url));
  // The tests hold the other end of stdin: it closes however they end.
  process.stdin.resume().on('end', () => process.exit());
  process.stdout.write(`${JSON.stringify({ url })}\n`);
}

export async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

export function answer(response, status, body, headers = {}) {
  const text = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text);
}
