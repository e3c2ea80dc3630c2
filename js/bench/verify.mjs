// The cost of verifying, compared with jose only and with only the signature check.
// Prints medians of short interleaved rounds in µs per verification, and the
// median of the rounds' ratios, which is what to read: a busy machine slows both
// halves of a round alike. Run with: npm run bench

import { performance } from 'node:perf_hooks';
import { createVerifier } from '@usher-auth/sdk';
import { createLocalJWKSet, importJWK, jwtVerify } from 'jose';

import { audience, issuer, newKey, start } from '../test/support.mjs';

const rounds = 151;
const perRound = 60;
const now = () => start * 1000;

// About 600 bytes each: a user's patterns of an ordinary size.
function makeTokens(key) {
  const perms = {
    'acme:design:1': ['room:write', 'comments:write'],
    'acme:*': ['room:read', 'room:presence:write', 'comments:read'],
  };
  const claims = { k: 'acc', pid: 'usher', uid: 'alice', perms, ui: { name: 'Alice' } };
  return Array.from({ length: perRound }, () => key.token(claims));
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

async function time(verify, tokens, inFlight) {
  const began = performance.now();
  for (let i = 0; i < tokens.length; i += inFlight) {
    if (inFlight === 1) await verify(tokens[i]);
    else await Promise.all(tokens.slice(i, i + inFlight).map(verify));
  }
  return ((performance.now() - began) * 1000) / tokens.length;
}

for (const alg of ['EdDSA', 'ES256']) {
  const key = newKey(alg);
  const tokens = makeTokens(key);
  const jwks = { keys: [key.jwk] };
  const config = { issuer, audience, jwks, now };
  const cold = createVerifier({ ...config, cacheSize: 0 });
  const warm = createVerifier(config);

  const localSet = createLocalJWKSet(jwks);
  const best = {
    issuer,
    audience,
    algorithms: [alg],
    typ: 'at+jwt',
    requiredClaims: ['iss', 'aud', 'sub', 'jti', 'iat', 'exp'],
    maxTokenAge: 3600,
    clockTolerance: 30,
    currentDate: new Date(now()),
  };

  const publicKey = await importJWK(key.jwk, alg);
  const scheme = alg === 'EdDSA' ? 'Ed25519' : { name: 'ECDSA', hash: 'SHA-256' };
  const signatures = new Map(
    tokens.map((token) => {
      const dot = token.lastIndexOf('.');
      return [token, [Buffer.from(token.slice(dot + 1), 'base64url'), Buffer.from(token.slice(0, dot))]];
    }),
  );

  const contestants = {
    'signature alone': (token) => crypto.subtle.verify(scheme, publicKey, ...signatures.get(token)),
    'jose alone': (token) => jwtVerify(token, localSet, best),
    cold: (token) => cold.verify(token),
    memoised: (token) => warm.verify(token),
  };
  for (const inFlight of [1, 30]) {
    const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
    for (let round = -10; round < rounds; round++) {
      for (const [name, verify] of Object.entries(contestants)) {
        const took = await time(verify, tokens, inFlight);
        if (round >= 0) times[name].push(took); // the first rounds warm up
      }
    }
    console.log(`${alg}, ${tokens[0].length} bytes, ${inFlight} in flight`);
    for (const [name, all] of Object.entries(times)) {
      console.log(`  ${name.padEnd(16)} ${median(all).toFixed(1).padStart(7)} µs`);
    }
    const ratios = times.cold.map((cold, round) => cold / times['jose alone'][round]);
    console.log(`  cold is ${median(ratios).toFixed(2)} times jose alone\n`);
  }
}
