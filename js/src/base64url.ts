// Groups of four characters, then optionally two or three more, whose last
// character has its unused bits set to zero.
const canonical = /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/;

/**
 * Reports whether `text` is canonical base64url: no padding, no whitespace and
 * no unused bits set (RFC 4648 section 3.5). The platforms' decoders accept
 * some of these, and then one token has several spellings.
 */
export function isBase64url(text: string): boolean {
  return canonical.test(text);
}
