/** WebSocket close codes by which a guarded store asks for another token; 4000 to 4999 are an application's own. */
export const closeCode = { expired: 4001, revoked: 4003 } as const;
