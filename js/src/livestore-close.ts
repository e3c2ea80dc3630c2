/** The WebSocket close codes of a guarded store. The client then needs another token. */
export const closeCode = { expired: 4001, revoked: 4003 } as const;
