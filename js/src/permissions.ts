// Ids, patterns and access. permissions/testdata/permissions.json holds the
// rules, for Go, SQL and this package alike.

/** The access to a room or store: `none` < `read` < `full`. */
export type Access = 'none' | 'read' | 'full';

/**
 * Matches every id (`*`), one id, or every id that starts with `literal`. Created
 * by {@link parsePattern}.
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
 * Reports whether `id` is a valid room id: 1 to 128 UTF-16 code units of
 * well-formed Unicode without `*` and control characters. Ids are never trimmed,
 * decoded, folded or normalized.
 */
export function checkId(id: string): boolean {
  return id.length > 0 && id.length <= maxUnits && !/[*\p{Cc}\p{Cs}]/u.test(id);
}

/** Reports whether `id` is a valid store id: 1 to 128 of LiveStore's `[A-Za-z0-9_-]`. */
export function checkStoreId(id: string): boolean {
  return /^[A-Za-z0-9_-]{1,128}$/.test(id);
}

/** Parses `*`, an id, or an id followed by one `*`. Returns undefined for anything else. */
export function parsePattern(text: string): Pattern | undefined {
  const wildcard = text.endsWith('*');
  const literal = wildcard ? text.slice(0, -1) : text;
  return text === '*' || checkId(literal) ? { literal, wildcard } : undefined;
}

/**
 * Reports whether `pattern` matches `id`: exactly, or by the prefix before its
 * `*`. No pattern, not even `*`, matches an id that {@link checkId} refuses.
 */
export function matches(pattern: Pattern, id: string): boolean {
  return checkId(id) && (pattern.wildcard ? id.startsWith(pattern.literal) : id === pattern.literal);
}

/** The strongest access among the grants whose pattern matches `id`. */
export function access(grants: Iterable<readonly [Pattern, Access]>, id: string): Access {
  let strongest: Access = 'none';
  for (const [pattern, granted] of grants) {
    if (!atLeast(strongest, granted) && matches(pattern, id)) strongest = granted;
  }
  return strongest;
}
