// Liveblocks' permission names, as in the claim `perms`.

import type { Access } from './permissions.js';

/** The names that usher writes for each access. Clients from 1.12 to 3.24 read them alike. */
export const permissionNames = {
  read: ['room:read', 'room:presence:write', 'comments:read'],
  full: ['room:write', 'comments:write'],
} as const;

/**
 * Reads the names of one pattern as access. FULL requires a base write and no
 * feature below write. READ requires a base read, which a base write includes.
 *
 * For each feature the strongest level counts. Unknown features follow the same
 * rule: they can reduce FULL to READ, and give nothing.
 */
export function accessOf(names: readonly string[]): Access {
  const write = names.includes('*:write') || names.includes('room:write');
  if (!write) return names.includes('*:read') || names.includes('room:read') ? 'read' : 'none';
  return names.some((name) => isBelowWrite(name, names)) ? 'read' : 'full';
}

function isBelowWrite(name: string, names: readonly string[]): boolean {
  if (name === '*:read' || name === 'room:read') return false;
  const { feature, level } = splitName(name);
  return (level === 'read' || level === 'none') && !names.includes(`${feature}:write`);
}

/** Splits `comments:public:read` into `comments:public` and `read`. */
export function splitName(name: string): { feature: string; level: string } {
  const colon = name.lastIndexOf(':');
  return colon < 0 ? { feature: name, level: '' } : { feature: name.slice(0, colon), level: name.slice(colon + 1) };
}
