// Prism's own command line: it imitates the server that an OpenAPI document describes, and validates requests.
// argv: {"document": path}
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const { document } = JSON.parse(process.argv[2]);
const cli = fileURLToPath(import.meta.resolve('@stoplight/prism-cli/dist/index.js'));
const options = ['mock', '--errors', '--host', '127.0.0.1', '--port', '0', document];
const prism = spawn(process.execPath, [cli, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
process.stdin.resume().on('end', () => prism.kill());
prism.on('exit', (code) => process.exit(code ?? 0));

for await (const line of createInterface({ input: prism.stdout })) {
  const url = /listening on (http:\S+)/.exec(line)?.[1];
  if (url) process.stdout.write(`${JSON.stringify({ url })}\n`);
}
