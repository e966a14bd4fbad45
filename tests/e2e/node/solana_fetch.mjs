// Import it first: what a client asks of Solana's public node goes to the one named by --solana=URL.
const named = process.argv.find((word) => word.startsWith("--solana="));
const real = globalThis.fetch;
if (named) {
  const node = named.slice("--solana=".length);
  globalThis.fetch = (input, init) => {
    const { host } = new URL(input instanceof Request ? input.url : input);
    return host === "api.mainnet-beta.solana.com" ? real(node, init) : real(input, init);
  };
}
