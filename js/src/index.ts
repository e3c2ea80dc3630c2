export { accessTo, type Claims, type Resource } from './claims.js';
export { VerifyError, type VerifyErrorCode } from './errors.js';
export { type Access } from './permissions.js';
export { createVerifier, type JWKSet, type Verifier, type VerifierConfig, type Want } from './verifier.js';
