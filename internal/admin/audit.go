package admin

import "time"

// A DecisionFilter filters a list of decisions. Zero fields select all.
type DecisionFilter struct {
	Result   string // issued or denied
	Reason   string // of a denial
	User     string
	Room     string // the requested room
	Store    string // the requested store
	CallerID string // a key's id, or a session's sid
	Since    time.Time
	Until    time.Time // exclusive
}

// A DecisionPlace is a decision's place in a list, newest first.
type DecisionPlace struct {
	IssuedAt time.Time
	ID       int64
}

// A ChangeFilter filters a list of changes. Zero fields select all.
type ChangeFilter struct {
	Actor  string
	Action string
	Target string
	Since  time.Time
	Until  time.Time // exclusive
}

// A HolderPlace is a holder's place in the list of an id's holders.
type HolderPlace struct {
	UserID   string
	IssuedAt time.Time
	JTI      string
}
