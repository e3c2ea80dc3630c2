package admin

import "time"

// A DecisionFilter narrows a list of decisions. Zero fields let through all.
type DecisionFilter struct {
	Result   string // issued or denied
	Reason   string // of a denial
	User     string
	Room     string // that was asked for
	Store    string // that was asked for
	CallerID string // of a key, or of a session its sid
	Since    time.Time
	Until    time.Time // exclusive
}

// A DecisionPlace is where a decision stands among the newest.
type DecisionPlace struct {
	IssuedAt time.Time
	ID       int64
}

// A ChangeFilter narrows a list of changes. Zero fields let through all.
type ChangeFilter struct {
	Actor  string
	Action string
	Target string
	Since  time.Time
	Until  time.Time // exclusive
}

// A HolderPlace is where a holder stands among those of an id.
type HolderPlace struct {
	UserID   string
	IssuedAt time.Time
	JTI      string
}
