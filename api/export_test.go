package api

// LimiterKeys is how many keys a meter remembers at most.
const LimiterKeys = meterKeys

// Remembered returns how many keys all meters remember.
func (a *API) Remembered() int {
	return a.limiter.sessions.until.Len() + a.limiter.apiKeys.until.Len() + a.limiter.failures.until.Len()
}
