package audit

import "fmt"

// Kinds of [Finding].
const (
	FoundInDecisions   = "decision"
	FoundInChanges     = "change"
	FoundInSeals       = "seal"
	FoundInCheckpoints = "checkpoint"
)

// A Finding is a part of the audit that differs from what was sealed.
type Finding struct {
	// Kind is decision, change, seal or checkpoint.
	Kind string `json:"kind"`
	// FirstID and LastID are the first and the last of consecutive rows with
	// the same problem. For seals they are leaves, from 0; for a checkpoint
	// they are the number of its leaves.
	FirstID int64  `json:"firstId"`
	LastID  int64  `json:"lastId"`
	Rows    int64  `json:"rows"`
	Problem string `json:"problem"`
	// Position is the position of the row's leaf among the leaves of its table, starting at
	// 1. It is 0 if the row has no leaf. Consecutive rows become one finding.
	Position int64 `json:"-"`
}

// String returns the finding as a sentence.
func (f *Finding) String() string {
	switch {
	case f.Kind == FoundInCheckpoints:
		return fmt.Sprintf("checkpoint of %d leaves: %s", f.FirstID, f.Problem)
	case f.Kind == FoundInSeals:
		return fmt.Sprintf("seal of the leaves %d to %d: %s", f.FirstID, f.LastID, f.Problem)
	case f.Rows == 1:
		return fmt.Sprintf("%s %d: %s", f.Kind, f.FirstID, f.Problem)
	}
	return fmt.Sprintf("%ss %d to %d (%d rows): %s", f.Kind, f.FirstID, f.LastID, f.Rows, f.Problem)
}

// maxFindings is the maximum number of findings in a report.
const maxFindings = 1_000

// A Report is the result of a verification of the audit.
type Report struct {
	Leaves    int64 `json:"leaves"`    // of the tree
	Decisions int64 `json:"decisions"` // rows that are unchanged since they were sealed
	Changes   int64 `json:"changes"`   // rows that are unchanged since they were sealed
	Forgotten int64 `json:"forgotten"` // number of these decisions whose personal data was erased
	Pruned    int64 `json:"pruned"`    // decisions that were dropped with their month
	Unsealed  int64 `json:"unsealed"`  // rows that no checkpoint covers yet
	// Checkpoints is the number of kept checkpoints that fit the tree.
	Checkpoints int `json:"checkpoints"`
	// Findings are the first 1,000.
	Findings []Finding `json:"findings"`
	Found    int       `json:"found"`
}

// Add adds a finding. If the row directly follows those of the last finding, it extends that
// one.
func (r *Report) Add(f Finding) {
	if n := len(r.Findings); n > 0 && f.Position > 0 {
		if last := &r.Findings[n-1]; last.Kind == f.Kind && last.Problem == f.Problem && last.Position+1 == f.Position {
			last.LastID, last.Position = f.LastID, f.Position
			last.Rows++
			return
		}
	}
	r.Found++
	if r.Found <= maxFindings {
		r.Findings = append(r.Findings, f)
	}
}
