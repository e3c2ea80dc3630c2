// Liveblocks' permission names, as in the claim `perms`.

import type { Access } from './permissions.js';

/** The names that usher writes for each access. Clients from 1.12 to 3.24 read them alike. */
export const permissionNames = {
  read: ['room:read', 'room:presence:write', 'comments:read'],
  full: ['room:write', 'comments:write'],
} as const;

/** Reads the base of one pattern's names as access. A base write includes a base read. */
export function baseOf(names: readonly string[]): Access {
  if (names.includes('*:write') || names.includes('room:write')) return 'full';
  return names.includes('*:read') || names.includes('room:read') ? 'read' : 'none';
}

/**
 * Reports whether the names lower a feature below their base. For each feature the
 * strongest level counts; unknown features follow the same rule. Without a base of
 * their own, names are compared with the base write of a broader pattern.
 */
export function lowersFeature(names: readonly string[]): boolean {
  const base = baseOf(names);
  return names.some((name) => isBelow(base, name, names));
}

function isBelow(base: Access, name: string, names: readonly string[]): boolean {
  if (name === '*:read' || name === 'room:read') return false;
  const { feature, level } = splitName(name);
  if (names.includes(`${feature}:write`)) return false;
  return level === 'read' ? base !== 'read' : level === 'none' && !names.includes(`${feature}:read`);
}

/** Splits `comments:public:read` into `comments:public` and `read`. */
export function splitName(name: string): { feature: string; level: string } {
  const colon = name.lastIndexOf(':');
  return colon < 0 ? { feature: name, level: '' } : { feature: name.slice(0, colon), level: name.slice(colon + 1) };
}
