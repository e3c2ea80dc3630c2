// Ids, patterns and access: the rules that permissions/testdata/permissions.json
// pins for Go, SQL and this package alike.

/** How much may be done with a room or store: `none` < `read` < `full`. */
export type Access = 'none' | 'read' | 'full';

/**
 * What a grant names: every id (`*`), one id, or every id that starts with
 * `literal`. Made by {@link parsePattern}.
 */
export interface Pattern {
  readonly literal: string;
  readonly wildcard: boolean;
}

const maxUnits = 128;

const rank = { none: 0, read: 1, full: 2 } as const;

/** Reports whether `have` is at least `want`. */
export function atLeast(have: Access, want: Access): boolean {
  return rank[have] >= rank[want];
}

/**
 * Reports whether `id` may name a room: 1 to 128 UTF-16 units of well-formed
 * Unicode without `*` and control characters. Nothing is trimmed, decoded,
 * folded or normalised, here or later.
 */
export function checkId(id: string): boolean {
  return id.length > 0 && id.length <= maxUnits && !/[*\p{Cc}\p{Cs}]/u.test(id);
}

/** Reports whether `id` may name a store: LiveStore's own `[A-Za-z0-9_-]`, 1 to 128 of them. */
export function checkStoreId(id: string): boolean {
  return /^[A-Za-z0-9_-]{1,128}$/.test(id);
}

/** Reads `*`, an id, or an id followed by one `*`; undefined for anything else. */
export function parsePattern(text: string): Pattern | undefined {
  const wildcard = text.endsWith('*');
  const literal = wildcard ? text.slice(0, -1) : text;
  return text === '*' || checkId(literal) ? { literal, wildcard } : undefined;
}

/**
 * Reports whether `pattern` covers `id`: exactly, or by prefix before its `*`.
 * What {@link checkId} refuses, nothing covers, not even `*`.
 */
export function matches(pattern: Pattern, id: string): boolean {
  return checkId(id) && (pattern.wildcard ? id.startsWith(pattern.literal) : id === pattern.literal);
}

/** The strongest access among the grants whose pattern covers `id`. */
export function access(grants: Iterable<readonly [Pattern, Access]>, id: string): Access {
  let strongest: Access = 'none';
  for (const [pattern, granted] of grants) {
    if (!atLeast(strongest, granted) && matches(pattern, id)) strongest = granted;
  }
  return strongest;
}
