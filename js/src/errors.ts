/** Why a token was refused. A code never changes its meaning; README.md explains each. */
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
 * A refusal. `code` is for branching and for the verifier's own log. `message`
 * may be shown to whoever sent the token: it never says which check failed and
 * never holds a part of the token.
 */
export class VerifyError extends Error {
  override readonly name = 'VerifyError';
  readonly code: VerifyErrorCode;
  /**
   * True for `keys_unavailable` alone, which says nothing about the token.
   * Answer it with 503, never with 401: clients give up on a 401.
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
