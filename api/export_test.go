package api

// LimiterKeys is the maximum number of keys that a meter remembers.
const LimiterKeys = meterKeys

// Remembered returns how many keys all meters remember.
func (a *API) Remembered() int {
	return a.limiter.sessions.until.Len() + a.limiter.apiKeys.until.Len() + a.limiter.failures.until.Len()
}
