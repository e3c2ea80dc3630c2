// Groups of four characters, then none, or two or three of which the last
// leaves the bits zero that belong to no byte.
const canonical = /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/;

/**
 * Reports whether `text` is base64url in its one canonical spelling: without
 * padding, blanks and stray bits (RFC 4648 section 3.5). The decoders at hand
 * forgive some of that, and then one token has many spellings.
 */
export function isBase64url(text: string): boolean {
  return canonical.test(text);
}
