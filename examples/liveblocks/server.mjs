import { createSyncServer } from './sync.mjs';

const {
  USHER_ISSUER = 'http://127.0.0.1:8080', // the URL that make dev prints
  USHER_JWKS_URL = `${USHER_ISSUER}/.well-known/jwks.json`,
  USHER_AUDIENCE = 'liveblocks',
  HOST = '127.0.0.1',
  PORT = '1234',
} = process.env;

const server = createSyncServer({ issuer: USHER_ISSUER, audience: USHER_AUDIENCE, jwks: USHER_JWKS_URL });
server.listen({ host: HOST, port: Number(PORT) }, () => {
  const { address, port } = server.address();
  console.log(`sync server at http://${address}:${port}, for tokens of ${USHER_ISSUER}`);
});
