package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A plan is the plan of one statement that ran, from the log of auto_explain.
type plan struct {
	Query string `json:"Query Text"`
	Plan  node
}

type node struct {
	Type            string  `json:"Node Type"`
	Relation        string  `json:"Relation Name"`
	Index           string  `json:"Index Name"`
	IndexCond       string  `json:"Index Cond"`
	Loops           float64 `json:"Actual Loops"`
	SubplansRemoved int     `json:"Subplans Removed"`
	SharedHit       int     `json:"Shared Hit Blocks"`
	SharedRead      int     `json:"Shared Read Blocks"`
	Plans           []node
}

func (n node) walk(visit func(node)) {
	visit(n)
	for _, child := range n.Plans {
		child.walk(visit)
	}
}

// Questions about one id or one user use indexes: no plan that ran scans a table that grows,
// reads a whole index, or opens a partition of another time.
func TestAnswersComeByIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	postgres, stop, err := startPostgres(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	s := size{users: 4_000, grants: 40_000, tokens: 30_000, months: 4}
	filled, err := fill(ctx, postgres, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := filled.Close(ctx); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(postgres.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	var plans []plan
	cfg.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		_, text, found := bytes.Cut([]byte(notice.Message), []byte("plan:\n"))
		var p plan
		if err := json.Unmarshal(text, &p); !found || err != nil {
			t.Errorf("notice %q: %v", notice.Message, err)
		}
		plans = append(plans, p)
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range []string{
		"LOAD 'auto_explain'", "SET auto_explain.log_format = json", "SET auto_explain.log_level = notice",
		"SET auto_explain.log_nested_statements = on", "SET auto_explain.log_analyze = on", "SET auto_explain.log_buffers = on",
		"SET auto_explain.log_timing = off", "SET auto_explain.log_min_duration = 0",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s (a contrib module of PostgreSQL): %v", sql, err)
		}
	}

	// Tables with few rows, or still empty.
	rows, err := conn.Query(ctx, "SELECT relname FROM pg_class WHERE relname IN ('api_keys', 'changes', 'deployment') OR relname LIKE 'decisions\\_%' AND reltuples <= 0")
	if err != nil {
		t.Fatal(err)
	}
	small, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}

	for _, q := range questions {
		partitions := []string{}
		for i := range 10 {
			plans = nil
			opened := map[string]bool{}
			if _, err := conn.Exec(ctx, q.sql, q.args(s)...); err != nil {
				t.Fatalf("%s: %v", q.name, err)
			}
			if len(plans) == 0 {
				t.Fatalf("%s: no plan was logged", q.name)
			}
			for _, p := range plans {
				p.Plan.walk(func(n node) {
					// A function's plan is the same for all arguments: a part that did not run now may run later.
					runs := n.Loops > 0 || p.Query != q.sql
					scans := n.Type == "Seq Scan" || strings.Contains(n.Type, "Index") && n.IndexCond == ""
					if runs && scans && !slices.Contains(small, n.Relation) {
						t.Errorf("%s: %s of %s%s without a condition, in\n%s", q.name, n.Type, n.Relation, n.Index, p.Query)
					}
					if strings.HasPrefix(n.Relation, "decisions_") && n.Loops > 0 && !slices.Contains(small, n.Relation) {
						opened[n.Relation] = true
					}
				})
			}
			whole := plans[len(plans)-1].Plan                                            // the plan of the question itself
			if blocks := whole.SharedHit + whole.SharedRead; i > 0 && blocks > most(q) { // the first one plans
				t.Errorf("%s: read %d blocks, want %d at most", q.name, blocks, most(q))
			}
			if len(opened) > len(partitions) {
				partitions = nil
				for name := range opened {
					partitions = append(partitions, name)
				}
			}
		}
		slices.Sort(partitions)
		switch want := 2; {
		case q.name == "tokens_of, all":
			if len(partitions) < s.months {
				t.Errorf("%s opened %v: the tokens are not where they should be", q.name, partitions)
			}
		case len(partitions) > want:
			t.Errorf("%s opened %v, want %d partitions at most", q.name, partitions, want)
		}
	}
}

// most returns the maximum number of blocks for the answer to one question. An answer with
// thousands of rows may use some for each row.
func most(q question) int {
	if strings.HasSuffix(q.name, largeOrganization) && strings.HasPrefix(q.name, "who") {
		return 3_000
	}
	return 600
}
