/** Why a token was refused. A code never changes its meaning. README.md explains each. */
export type VerifyErrorCode =
  | 'token_malformed'
  | 'header_invalid'
  | 'type_mismatch'
  | 'key_unknown'
  | 'keys_unavailable'
  | 'algorithm_mismatch'
  | 'signature_invalid'
  | 'claims_invalid'
  | 'issuer_mismatch'
  | 'audience_mismatch'
  | 'lifetime_too_long'
  | 'token_not_yet_valid'
  | 'token_expired'
  | 'forbidden';

/**
 * A refusal. Use `code` in conditions and in your own log. You may show `message`
 * to the sender of the token: it does not say which check failed and holds no
 * part of the token.
 */
export class VerifyError extends Error {
  override readonly name = 'VerifyError';
  readonly code: VerifyErrorCode;
  /**
   * True only for `keys_unavailable`, which says nothing about the token.
   * Answer it with 503, never with 401: clients give up after a 401.
   */
  readonly retryable: boolean;

  constructor(code: VerifyErrorCode, options?: ErrorOptions) {
    super(messages[code] ?? 'invalid token', options);
    this.code = code;
    this.retryable = code === 'keys_unavailable';
  }
}

const messages: Partial<Record<VerifyErrorCode, string>> = {
  keys_unavailable: 'verification keys are unavailable, try again',
  token_expired: 'token expired',
  forbidden: 'access denied',
};
