const maxDepth = 16;

// What a text that JSON.parse took consists of, numbers and words aside.
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[[{\]}:]/g;

/**
 * Parses JSON that no two parsers can read differently: valid UTF-8 without
 * byte order mark, one value, at most 16 levels, no name twice in an object, no
 * NUL and no lone surrogate in a string. In the outermost object no two names
 * may even differ in case alone; inner objects may be maps whose names are ids,
 * and in ids case counts. Throws a SyntaxError for anything else.
 */
export function parseStrictJSON(bytes: Uint8Array): unknown {
  let text: string;
  try {
    // ignoreBOM keeps the mark in the text, where JSON.parse refuses it.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SyntaxError('not UTF-8');
  }
  const value: unknown = JSON.parse(text);

  const open: Set<string>[] = []; // the names so far in each object or array around
  let before = '';
  for (const token of text.match(tokens) ?? []) {
    if (token === '{' || token === '[') {
      if (open.push(new Set()) > maxDepth) throw new SyntaxError('too deep');
    } else if (token === '}' || token === ']') {
      open.pop();
    } else if (token === ':') {
      const exact = unquote(before);
      const name = open.length === 1 ? foldCase(exact) : exact;
      const names = open.at(-1)!;
      if (names.has(name)) throw new SyntaxError('a name twice');
      names.add(name);
    } else if (token.includes('\\') && /[\0\p{Cs}]/u.test(unquote(token))) {
      // Written plainly, neither gets as far as here.
      throw new SyntaxError('NUL or lone surrogate');
    }
    before = token;
  }
  return value;
}

function unquote(token: string): string {
  return token.includes('\\') ? (JSON.parse(token) as string) : token.slice(1, -1);
}

/** Reports whether `value`, as JSON.parse gives it, is an object and no array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// Unicode's simple case folding, as far as equality goes: Go's encoding/json
// takes `iſs` for `iss`, so a token that holds both is refused here too.
function foldCase(name: string): string {
  if (/^[a-z_]*$/.test(name)) return name;
  let folded = '';
  for (const char of name) {
    // Simple folding keeps the dotless i apart, which is upper-cased to I.
    const upper = char === 'ı' ? char : single(char.toUpperCase(), char);
    folded += single(upper.toLowerCase(), upper);
  }
  return folded;
}

// Mappings of one character to several are no part of simple folding.
function single(mapped: string, original: string): string {
  return [...mapped].length === 1 ? mapped : original;
}
