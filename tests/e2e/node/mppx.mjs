// Runs the command of npm's mppx with a throwaway wallet, on the chain that we name.
// node mppx.mjs <node url> <private key> <words of mppx...>
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [, program, node, key, ...words] = process.argv
process.env.HOME = mkdtempSync(join(tmpdir(), 'mppx-'))
process.env.MPPX_PRIVATE_KEY = key
process.env.MPPX_RPC_URL = node

// Some of its steps ask Tempo's public node whatever they were told.
const real = globalThis.fetch
globalThis.fetch = (input, init) => {
  const request = input instanceof Request
  const url = new URL(request ? input.url : input)
  if (!url.hostname.endsWith('tempo.xyz')) return real(input, init)
  return request ? real(new Request(node, input)) : real(node, init)
}

process.argv = [process.argv[0], program, ...words]
await import('./node_modules/mppx/dist/bin.js')
