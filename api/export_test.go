package api

// LimiterKeys is how many keys a limiter remembers at most.
const LimiterKeys = limiterKeys

// Remembered returns how many keys all limiters remember.
func (a *API) Remembered() int {
	return a.gate.sessions.until.Len() + a.gate.apiKeys.until.Len() + a.gate.failures.until.Len()
}
