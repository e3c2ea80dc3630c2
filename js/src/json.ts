const maxDepth = 16;

// The tokens of valid JSON, except numbers, literals and commas.
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[[{\]}:]/g;

/**
 * Parses JSON that all parsers read alike: valid UTF-8 without byte order mark,
 * one value, at most 16 levels, no duplicate names in an object, no NUL and no
 * lone surrogate in a string. In the outermost object, names that differ only
 * in case are duplicates too; inner objects may be maps from ids, which are case
 * sensitive. Throws a SyntaxError for anything else.
 */
export function parseStrictJSON(bytes: Uint8Array): unknown {
  let text: string;
  try {
    // ignoreBOM keeps the mark in the text, and JSON.parse then refuses it.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SyntaxError('not UTF-8');
  }
  const value: unknown = JSON.parse(text);

  const open: Set<string>[] = []; // the names so far in each enclosing object or array
  let before = '';
  for (const token of text.match(tokens) ?? []) {
    if (token === '{' || token === '[') {
      if (open.push(new Set()) > maxDepth) throw new SyntaxError('nested too deeply');
    } else if (token === '}' || token === ']') {
      open.pop();
    } else if (token === ':') {
      const exact = unquote(before);
      const name = open.length === 1 ? foldCase(exact) : exact;
      const names = open.at(-1)!;
      if (names.has(name)) throw new SyntaxError('duplicate name');
      names.add(name);
    } else if (token.includes('\\') && /[\0\p{Cs}]/u.test(unquote(token))) {
      // Unescaped, neither passes the decoder and JSON.parse.
      throw new SyntaxError('NUL or lone surrogate');
    }
    before = token;
  }
  return value;
}

function unquote(token: string): string {
  return token.includes('\\') ? (JSON.parse(token) as string) : token.slice(1, -1);
}

/** Reports whether `value`, as JSON.parse returns it, is an object but not an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// Names that are equal under Unicode's simple case folding get equal results:
// Go's encoding/json reads `iſs` as `iss`, so a token with both is refused.
function foldCase(name: string): string {
  if (/^[a-z_]*$/.test(name)) return name;
  let folded = '';
  for (const char of name) {
    // Simple folding does not map the dotless i, whose upper case is I.
    const upper = char === 'ı' ? char : single(char.toUpperCase(), char);
    folded += single(upper.toLowerCase(), upper);
  }
  return folded;
}

// Simple folding has no mappings of one character to several.
function single(mapped: string, original: string): string {
  return [...mapped].length === 1 ? mapped : original;
}
