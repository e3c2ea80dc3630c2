// Package codes lists the codes of refusals and errors. The log, the audit, HTTP answers,
// the Go verifier and the npm package use the same code for the same check. docs/errors.md
// shows the same list.
//
// A code never changes its meaning. A new meaning gets a new code.
package codes

// Reasons why a token is refused: usher's token at a sync backend, or an identity
// provider's token at usher. They are in the order of the checks.
const (
	TokenMalformed    = "token_malformed"
	HeaderInvalid     = "header_invalid"
	TypeMismatch      = "type_mismatch"
	KeyUnknown        = "key_unknown"
	KeysUnavailable   = "keys_unavailable"
	AlgorithmMismatch = "algorithm_mismatch"
	SignatureInvalid  = "signature_invalid"
	IssuerMismatch    = "issuer_mismatch"
	AudienceMismatch  = "audience_mismatch"
	ClaimsInvalid     = "claims_invalid"
	LifetimeTooLong   = "lifetime_too_long"
	TokenNotYetValid  = "token_not_yet_valid"
	TokenExpired      = "token_expired"
	Forbidden         = "forbidden" // also an HTTP code

	// Only for an identity provider's token.
	TokenEncrypted   = "token_encrypted"
	ClaimRefused     = "claim_refused"
	ClaimsIncomplete = "claims_incomplete"
)

// Reasons why usher refused a request, as the audit records them.
const (
	NoCredential       = "no_credential"
	BadBearer          = "bad_bearer"
	DuplicateCookie    = "duplicate_cookie"
	BadCookie          = "bad_cookie"
	BadCookieSignature = "bad_cookie_signature"
	EncryptedCookie    = "encrypted_cookie"
	UntrustedProxy     = "untrusted_proxy"
	BadProxyUser       = "bad_proxy_user"
	OriginNotAllowed   = "origin_not_allowed"

	BadAPIKey     = "bad_api_key"
	PublicKeyUsed = "public_key_used"
	AdminKeyUsed  = "admin_key_used"
	APIKeyUnknown = "api_key_unknown"
	APIKeyRevoked = "api_key_revoked"
	APIKeyExpired = "api_key_expired"
	APIKeyScope   = "api_key_scope"

	NoAdminKey      = "no_admin_key"
	BadAdminKey     = "bad_admin_key"
	APIKeyUsed      = "api_key_used"
	AdminKeyUnknown = "admin_key_unknown"
	AdminKeyRevoked = "admin_key_revoked"
	AdminKeyExpired = "admin_key_expired"
	AdminKeyRole    = "admin_key_role"

	SessionUnknown = "session_unknown"
	SessionExpired = "session_expired"
	UserUnknown    = "user_unknown"
	UserDisabled   = "user_disabled"
	NotAMember     = "not_a_member"
	NoGrant        = "no_grant"
)

// Reasons why the npm package's LiveStore hooks refused a request, in addition to those
// above.
const (
	TokenMissing = "token_missing"
	TokenInvalid = "token_invalid"
	TokenRevoked = "token_revoked"
)

// Values of the field error in an HTTP answer, in addition to [Forbidden].
const (
	BadRequest           = "bad_request"
	Unauthorized         = "unauthorized"
	NotFound             = "not_found"
	MethodNotAllowed     = "method_not_allowed"
	RequestTimeout       = "request_timeout"
	AlreadyExists        = "already_exists"
	InUse                = "in_use"
	PayloadTooLarge      = "payload_too_large"
	UnsupportedMediaType = "unsupported_media_type"
	UnprocessableEntity  = "unprocessable_entity"
	IdempotencyKeyReused = "idempotency_key_reused"
	RateLimited          = "rate_limited"
	Internal             = "internal"
	Unavailable          = "unavailable"
)

// Where says where a code is used.
type Where uint8

// The places, to be combined.
const (
	Token     Where = 1 << iota // a verifier's refusal of usher's token, in Go and in JavaScript
	Audit                       // the reason of a denial
	HTTP                        // the member error of an answer
	LiveStore                   // a refusal of the npm package's LiveStore hooks
)

// A Code is one entry of the list.
type Code struct {
	Text    string
	Where   Where
	Meaning string // one sentence
}

// All returns the list. It is the caller's.
func All() []Code {
	return []Code{
		{TokenMalformed, Token | Audit, "The token is not a JWS in compact form, is longer than 16 KiB, or its JSON is not strict."},
		{HeaderInvalid, Token | Audit, "The token's header has a member that is not allowed, or no usable kid."},
		{TypeMismatch, Token | Audit, "The token's typ is not one that is accepted."},
		{KeyUnknown, Token | Audit, "The issuer does not publish the key that the token names."},
		{KeysUnavailable, Token | LiveStore, "The issuer's keys could not be fetched. This says nothing about the token: try again, and answer 503."},
		{AlgorithmMismatch, Token | Audit, "The token's alg is not the algorithm of its key."},
		{SignatureInvalid, Token | Audit, "The signature is wrong: the token was changed, or forged."},
		{IssuerMismatch, Token | Audit, "The token's iss is not one that is accepted."},
		{AudienceMismatch, Token | Audit, "The token is for another audience (aud or azp)."},
		{ClaimsInvalid, Token | Audit, "A claim is missing or has the wrong type."},
		{LifetimeTooLong, Token | Audit, "The token is valid for longer than is accepted."},
		{TokenNotYetValid, Token | Audit, "The token's iat or nbf is in the future."},
		{TokenExpired, Token | Audit | LiveStore, "The token has expired; everything else about it is valid."},
		{Forbidden, Token | HTTP | LiveStore, "The credential is valid and does not give the access that was asked for."},

		{TokenEncrypted, Audit, "The identity provider's token is encrypted (JWE): usher cannot read it."},
		{ClaimRefused, Audit, "The identity provider's token lacks a claim that its rules require, or has one that they refuse."},
		{ClaimsIncomplete, Audit, "The identity provider's token does not list the user's groups or organizations, and says that they are elsewhere (Entra: too many groups)."},

		{NoCredential, Audit, "The request has no session cookie and no Authorization header."},
		{BadBearer, Audit, "The Authorization header is not one that usher accepts."},
		{DuplicateCookie, Audit | LiveStore, "The request has two session cookies."},
		{BadCookie, Audit, "The session cookie cannot be a session token."},
		{BadCookieSignature, Audit, "The signature of the session cookie is wrong or missing."},
		{EncryptedCookie, Audit, "The session cookie is encrypted: only the application can read it."},
		{UntrustedProxy, Audit, "The request names a user in the proxy's header, but does not come from a trusted proxy."},
		{BadProxyUser, Audit, "The proxy's header for the user or the organization is repeated, empty, or not a valid id."},
		{OriginNotAllowed, Audit | LiveStore, "A page of this origin may not ask for tokens with the user's cookie."},

		{BadAPIKey, Audit, "The text is not an API key: its form or its checksum is wrong."},
		{PublicKeyUsed, Audit, "A public key (pk_) was sent instead of an API key."},
		{AdminKeyUsed, Audit, "An admin key was sent instead of an API key."},
		{APIKeyUnknown, Audit, "There is no such API key."},
		{APIKeyRevoked, Audit, "The API key is revoked."},
		{APIKeyExpired, Audit, "The API key has expired."},
		{APIKeyScope, Audit, "The request is outside of the API key's scope."},

		{NoAdminKey, Audit, "The request to the admin API has no Authorization header."},
		{BadAdminKey, Audit, "The text is not an admin key: its form or its checksum is wrong."},
		{APIKeyUsed, Audit, "An API key was sent instead of an admin key."},
		{AdminKeyUnknown, Audit, "There is no such admin key."},
		{AdminKeyRevoked, Audit, "The admin key is revoked."},
		{AdminKeyExpired, Audit, "The admin key has expired."},
		{AdminKeyRole, Audit, "The admin key's role does not allow this request."},

		{SessionUnknown, Audit, "The directory does not know the session."},
		{SessionExpired, Audit, "The session has expired."},
		{UserUnknown, Audit, "The directory does not list the user."},
		{UserDisabled, Audit, "The user is disabled."},
		{NotAMember, Audit, "The user is not a member of the organization or group that the request names."},
		{NoGrant, Audit, "No grant covers the request."},

		{TokenMissing, LiveStore, "The request has no token."},
		{TokenInvalid, LiveStore, "The token does not verify; the log has the exact code."},
		{TokenRevoked, LiveStore, "The token was issued before its user or session was disconnected."},

		{BadRequest, HTTP, "The request is malformed (400)."},
		{Unauthorized, HTTP, "The credential is missing or not valid (401)."},
		{NotFound, HTTP, "There is no such route, or nothing with this id (404)."},
		{MethodNotAllowed, HTTP, "The route does not support this method (405)."},
		{RequestTimeout, HTTP, "The request body did not arrive in time: send the request again (408)."},
		{AlreadyExists, HTTP, "There is already one with this id or name (409)."},
		{InUse, HTTP, "Something else depends on it (409)."},
		{PayloadTooLarge, HTTP, "The request body is too large (413)."},
		{UnsupportedMediaType, HTTP, "The request body is not application/json (415)."},
		{UnprocessableEntity, HTTP, "The request is well-formed, but a value is not valid (422)."},
		{IdempotencyKeyReused, HTTP, "The Idempotency-Key was used for a different request (422)."},
		{RateLimited, HTTP, "A rate limit was exceeded: wait as long as Retry-After says (429)."},
		{Internal, HTTP, "An unexpected error; usher's log has the request ID (500)."},
		{Unavailable, HTTP, "usher is temporarily unavailable: try again after Retry-After (503)."},
	}
}

// String returns "token, audit, HTTP, LiveStore", or those of them that hold.
func (w Where) String() string {
	text := ""
	for _, place := range []struct {
		where Where
		name  string
	}{{Token, "token"}, {Audit, "audit"}, {HTTP, "HTTP"}, {LiveStore, "LiveStore"}} {
		if w&place.where != 0 {
			if text != "" {
				text += ", "
			}
			text += place.name
		}
	}
	return text
}
