package db

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
)

// VerifyAudit recomputes the audit's tree from the rows and compares it with the
// seals, in batches. It may run while usher serves, takes a while, and needs only the
// privileges of usher_auditor. Findings are in the report; an error says that it
// could not finish.
//
// checkpoints are signed checkpoints that were kept outside of the database, one
// after the other. They may be empty, but then an audit that was cut off at its end,
// or rewritten with the audit's own key, looks intact. publicKeys are the audit's
// keys. If empty, those in the database are used, which an attacker who can change
// the database may have replaced.
func (db *DB) VerifyAudit(ctx context.Context, publicKeys, checkpoints []string) (*audit.Report, error) {
	first := tableProgress{through: math.MinInt64} // ids that usher never gives are looked at too
	v := &verification{db: db, tree: new(audit.Tree), forgotten: map[string]*audit.Finding{}, decisions: first, changes: first}
	if err := v.run(ctx, publicKeys, checkpoints); err != nil {
		return nil, failed("verify audit", err)
	}
	return &v.report, nil
}

type verification struct {
	db        *DB
	verifiers note.Verifiers
	kept      []audit.Checkpoint // sorted by size, without those already compared
	erased    erasures
	forgotten map[string]*audit.Finding // by user: the rows without personal data
	report    audit.Report

	nextSeal   int64       // the first leaf that one may have
	size       int64       // leaves of the seals so far, the missing ones included
	tree       *audit.Tree // of that size; nil since lostFrom
	lostFrom   int64       // from this leaf on, no root that is signed covers what was read
	treeBroken bool        // reported once, because nothing after it can fit
	decisions  tableProgress
	changes    tableProgress
}

// tableProgress is the progress of the comparison in one of the two tables.
type tableProgress struct {
	through  int64 // all rows to this id were sealed
	position int64 // of the last leaf that was compared, among the table's own, from 1
	leaves   []sealedLeaf
	gaps     []idRange // rows whose leaves are lost with their seals
}

// An idRange is the ids above after, to through.
type idRange struct{ after, through int64 }

// A sealedLeaf is a row's leaf in the tree.
type sealedLeaf struct {
	id   int64
	hash tlog.Hash
}

func (v *verification) run(ctx context.Context, keys, checkpoints []string) error {
	var err error
	if len(keys) == 0 {
		v.verifiers, err = v.db.verifiers(ctx, v.db.pool)
	} else if v.verifiers, err = audit.ParseKeys(keys...); err != nil {
		err = refuse(admin.ErrInvalid, "%s", err)
	}
	if err != nil {
		return err
	}
	for i, signed := range checkpoints {
		c, err := audit.OpenCheckpoint(signed, v.verifiers)
		if err != nil {
			return refuse(admin.ErrInvalid, "kept checkpoint %d of %d: %s", i+1, len(checkpoints), err)
		}
		v.kept = append(v.kept, c)
	}
	slices.SortStableFunc(v.kept, func(a, b audit.Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	if v.erased, err = v.db.erasures(ctx); err != nil {
		return err
	}
	for more := true; more; {
		if more, err = v.page(ctx); err != nil {
			return err
		}
	}
	if err := unsealedRows(ctx, v, statement("decision_leaves"), v.decisions.through, audit.FoundInDecisions, v.decision); err != nil {
		return err
	}
	if err := unsealedRows(ctx, v, statement("change_leaves"), v.changes.through, audit.FoundInChanges, v.change); err != nil {
		return err
	}
	if err := v.reloadErasures(ctx); err != nil {
		return err
	}
	v.endLost()
	v.compareKept()
	v.report.Leaves = v.size
	for _, user := range slices.Sorted(maps.Keys(v.forgotten)) {
		if rows := v.forgotten[user]; v.erased.users[user] {
			v.report.Forgotten += rows.Rows
		} else {
			v.report.Add(*rows)
		}
	}
	for _, c := range v.kept {
		v.findCheckpoint(c, fmt.Sprintf("the tree has only %d leaves: its end was cut off", v.size))
	}
	for _, p := range v.erased.prunes {
		if p.missing != p.Rows {
			v.report.Add(audit.Finding{Kind: audit.FoundInDecisions, FirstID: p.FirstID, LastID: p.LastID, Rows: p.missing, Problem: fmt.Sprintf(
				"of %s, %d sealed rows are missing, but usher audit prune dropped %d", p.Month, p.missing, p.Rows)})
		}
	}
	return nil
}

type seal struct {
	FirstLeaf        int64
	TreeSize         int64
	DecisionsThrough int64
	ChangesThrough   int64
	DecisionIDs      []int64 `db:"decision_ids"`
	ChangeIDs        []int64 `db:"change_ids"`
	Hashes           []byte
	Checkpoint       string
}

// page verifies the next seals and their rows, and reports whether more may follow.
func (v *verification) page(ctx context.Context) (more bool, err error) {
	rows, err := v.db.pool.Query(ctx, statement("page_seals"), pgx.StrictNamedArgs{"from": v.nextSeal})
	if err != nil {
		return false, err
	}
	seals, err := pgx.CollectRows(rows, pgx.RowToStructByName[seal])
	if err != nil || len(seals) == 0 {
		return false, err
	}
	decisionsFrom, changesFrom := v.decisions.through, v.changes.through
	v.nextSeal = seals[len(seals)-1].FirstLeaf + 1
	for i := range seals {
		if err := v.seal(ctx, &seals[i]); err != nil {
			return false, err
		}
	}
	if err := compareRows(ctx, v, statement("decision_leaves"), &v.decisions, decisionsFrom, audit.FoundInDecisions, v.decision); err != nil {
		return false, err
	}
	return true, compareRows(ctx, v, statement("change_leaves"), &v.changes, changesFrom, audit.FoundInChanges, v.change)
}

func (v *verification) findSeals(from, to int64, problem string) {
	v.report.Add(audit.Finding{Kind: audit.FoundInSeals, FirstID: from, LastID: to - 1, Rows: to - from, Problem: problem})
}

// seal verifies one seal against its checkpoint and adds its leaves. A seal that
// usher does not write is as good as missing.
func (v *verification) seal(ctx context.Context, s *seal) error {
	find := func(problem string) { v.findSeals(s.FirstLeaf, s.TreeSize, problem) }
	wellFormed := s.TreeSize == s.FirstLeaf+int64(len(s.DecisionIDs)+len(s.ChangeIDs)) && s.TreeSize > s.FirstLeaf && s.FirstLeaf >= v.size &&
		int64(len(s.Hashes)) == (tlog.StoredHashCount(s.TreeSize)-tlog.StoredHashCount(s.FirstLeaf))*tlog.HashSize &&
		isRun(v.decisions.through, s.DecisionIDs, s.DecisionsThrough) && isRun(v.changes.through, s.ChangeIDs, s.ChangesThrough)
	if !wellFormed {
		find("it was changed: usher does not write such a seal")
		return nil
	}
	c, signErr := audit.OpenCheckpoint(s.Checkpoint, v.verifiers)
	if s.FirstLeaf > v.size {
		if err := v.bridge(ctx, s, c); err != nil {
			return err
		}
	}
	hashes := make([]byte, 0, len(s.Hashes))
	for _, leaf := range s.leaves() {
		v.size++
		if v.tree != nil {
			hashes = v.tree.Append(leaf.hash, hashes)
			v.compareKept()
		}
	}
	for i, leaf := range s.leaves() {
		if i < len(s.DecisionIDs) {
			v.decisions.leaves = append(v.decisions.leaves, leaf)
		} else {
			v.changes.leaves = append(v.changes.leaves, leaf)
		}
	}
	v.decisions.through, v.changes.through = s.DecisionsThrough, s.ChangesThrough
	if signErr != nil {
		find(signErr.Error())
	}
	switch {
	case v.tree == nil:
		return v.resume(ctx, c)
	case v.treeBroken || signErr != nil:
	case c.Size != v.tree.Size() || c.Root != v.tree.Root():
		v.treeBroken = true
		find("its leaves and those before it do not give the root that its checkpoint signs: the tree was changed")
	case !bytes.Equal(hashes, s.Hashes):
		find("its hashes above the leaves were changed")
	}
	return nil
}

// leaves returns the leaves of the seal's rows, decisions first.
func (s *seal) leaves() []sealedLeaf {
	leaves := make([]sealedLeaf, 0, s.TreeSize-s.FirstLeaf)
	for i, id := range slices.Concat(s.DecisionIDs, s.ChangeIDs) {
		place := tlog.StoredHashIndex(0, s.FirstLeaf+int64(i)) - tlog.StoredHashCount(s.FirstLeaf)
		leaves = append(leaves, sealedLeaf{id, tlog.Hash(s.Hashes[place*tlog.HashSize:][:tlog.HashSize])})
	}
	return leaves
}

// bridge goes on after missing seals, to the next one. If their rows are still as
// they were, they give the leaves. Otherwise the tree is lost until
// [verification.resume] finds it.
func (v *verification) bridge(ctx context.Context, s *seal, signed audit.Checkpoint) error {
	from, missing := v.size, s.FirstLeaf-v.size
	decisions := idRange{v.decisions.through, lastBefore(s.DecisionIDs, s.DecisionsThrough)}
	changes := idRange{v.changes.through, lastBefore(s.ChangeIDs, s.ChangesThrough)}
	ofDecisions, err := rowLeaves[decisionRow](ctx, v, statement("decision_leaves"), decisions)
	if err != nil {
		return err
	}
	ofChanges, err := rowLeaves[changeRow](ctx, v, statement("change_leaves"), changes)
	if err != nil {
		return err
	}
	found := int64(len(ofDecisions) + len(ofChanges))
	if found == missing && v.tree != nil && !v.treeBroken {
		if leaves := v.order(s, signed, ofDecisions, ofChanges); leaves != nil {
			for _, leaf := range leaves {
				v.tree.Append(leaf.hash, nil)
				v.size++
				v.compareKept()
			}
			v.findSeals(from, v.size, "missing; its rows match the next signed checkpoint")
			v.decisions.leaves = append(v.decisions.leaves, ofDecisions...)
			v.changes.leaves = append(v.changes.leaves, ofChanges...)
			return nil
		}
	}
	v.findSeals(from, s.FirstLeaf, fmt.Sprintf("missing; its rows cannot be verified (%d of %d are there)", min(found, missing), missing))
	v.decisions.gaps, v.changes.gaps = append(v.decisions.gaps, decisions), append(v.changes.gaps, changes)
	if v.tree != nil {
		v.tree, v.lostFrom = nil, s.FirstLeaf
	}
	v.size = s.FirstLeaf
	return nil
}

// lastBefore returns the last id before those that a seal covers.
func lastBefore(ids []int64, through int64) int64 {
	if len(ids) > 0 {
		return ids[0] - 1
	}
	return through
}

// rowLeaves returns the leaves of the rows of a range.
func rowLeaves[T any, row interface {
	*T
	sealedLeaf() sealedLeaf
}](ctx context.Context, v *verification, sql string, ids idRange) (leaves []sealedLeaf, err error) {
	err = eachRow(ctx, v, sql, ids.after, ids.through, func(r *T) error {
		leaves = append(leaves, row(r).sealedLeaf())
		return nil
	})
	return leaves, err
}

// order returns the leaves of missing seals in the order of the tree: one that gives
// the roots of the kept checkpoints among them, and with the next seal the root that
// it signs. It is nil if it finds no such order. A seal holds its decisions, then its
// changes; only a kept checkpoint says where one of several missing seals ended.
func (v *verification) order(s *seal, signed audit.Checkpoint, decisions, changes []sealedLeaf) (leaves []sealedLeaf) {
	tree := v.tree.Clone()
	add := func(t *audit.Tree, leaves []sealedLeaf) *audit.Tree {
		t = t.Clone()
		for _, leaf := range leaves {
			t.Append(leaf.hash, nil)
		}
		return t
	}
	for tree.Size() < s.FirstLeaf {
		end := audit.Checkpoint{Size: s.FirstLeaf}
		for _, kept := range v.kept {
			if kept.Size > tree.Size() && kept.Size < s.FirstLeaf {
				end = kept
				break
			}
		}
		n := int(end.Size - tree.Size())
		least, most := max(0, n-len(changes)), min(n, len(decisions))
		if most-least > maxSealed {
			return nil // several seals
		}
		var part []sealedLeaf
		for d := most; d >= least && part == nil; d-- {
			try := slices.Concat(decisions[:d], changes[:n-d])
			t := add(tree, try)
			if end.Size < s.FirstLeaf && t.Root() == end.Root || end.Size == s.FirstLeaf && add(t, s.leaves()).Root() == signed.Root {
				part, tree, decisions, changes = try, t, decisions[d:], changes[n-d:]
			}
		}
		if part == nil {
			return nil
		}
		leaves = append(leaves, part...)
	}
	return leaves
}

// resume takes the tree from its stored hashes, if they give the root of a
// checkpoint after missing seals: the signed one, or one that was kept.
func (v *verification) resume(ctx context.Context, signed audit.Checkpoint) error {
	tree, err := audit.LoadTree(v.size, storedHashes(ctx, v.db.pool))
	if errors.Is(err, errBrokenTree) {
		return nil // the hashes that it needs are missing, too
	}
	if err != nil {
		return err
	}
	for _, c := range append(slices.Clone(v.kept), signed) {
		if c.Size == v.size && c.Root == tree.Root() {
			v.endLost()
			v.tree, v.treeBroken = tree, false
			v.compareKept()
			return nil
		}
	}
	return nil
}

// endLost reports the leaves that no root covers because of missing seals.
func (v *verification) endLost() {
	if v.tree == nil {
		v.findSeals(v.lostFrom, v.size, "no root covers its rows, because seals before it are missing: they were compared with stored hashes only")
	}
}

// isRun reports whether ids ascend strictly, start above after and end at most at
// through.
func isRun(after int64, ids []int64, through int64) bool {
	for _, id := range ids {
		if id <= after {
			return false
		}
		after = id
	}
	return after <= through
}

// compareKept compares the tree with the kept checkpoints to its present size.
func (v *verification) compareKept() {
	for ; len(v.kept) > 0 && v.kept[0].Size <= v.size; v.kept = v.kept[1:] {
		switch c := v.kept[0]; {
		case v.tree == nil || c.Size < v.size:
			v.findCheckpoint(c, "it could not be compared, because seals are missing")
		case c.Root == v.tree.Root():
			v.report.Checkpoints++
		default:
			v.findCheckpoint(c, "the tree had another root then: its history was rewritten")
		}
	}
}

func (v *verification) findCheckpoint(c audit.Checkpoint, problem string) {
	v.report.Add(audit.Finding{Kind: audit.FoundInCheckpoints, FirstID: c.Size, LastID: c.Size, Problem: problem})
}

// find adds a finding about one row. position is that of its leaf, or 0 without one.
func (v *verification) find(kind string, id, position int64, problem string) {
	v.report.Add(audit.Finding{Kind: kind, FirstID: id, LastID: id, Rows: 1, Problem: problem, Position: position})
}

// A rowCheck returns the input of a row's leaf, and how the row contradicts itself.
// The problem is empty if it does not.
type rowCheck[T any] func(*T) (id int64, hash tlog.Hash, problem string)

// compareRows compares the rows of a table, from one id to the last sealed one, with
// their leaves.
func compareRows[T any](ctx context.Context, v *verification, sql string, p *tableProgress, after int64, kind string, check rowCheck[T]) error {
	leaves := p.leaves
	p.leaves = p.leaves[:0]
	reloaded := false
	missing := func(leaf sealedLeaf) (err error) {
		p.position++
		if kind == audit.FoundInDecisions {
			explained := v.erased.explain(leaf.id)
			if !explained && !reloaded { // a prune may have run meanwhile
				reloaded = true
				if err := v.reloadErasures(ctx); err != nil {
					return err
				}
				explained = v.erased.explain(leaf.id)
			}
			if explained {
				v.report.Pruned++
				return nil
			}
		}
		v.find(kind, leaf.id, p.position, "it is missing: it was deleted after it was sealed")
		return nil
	}
	err := eachRow(ctx, v, sql, after, p.through, func(row *T) error {
		id, hash, problem := check(row)
		for ; len(leaves) > 0 && leaves[0].id < id; leaves = leaves[1:] {
			if err := missing(leaves[0]); err != nil {
				return err
			}
		}
		if len(leaves) == 0 || leaves[0].id > id {
			if slices.ContainsFunc(p.gaps, func(gap idRange) bool { return id > gap.after && id <= gap.through }) {
				if problem != "" {
					v.find(kind, id, 0, problem)
				}
				return nil
			}
			v.find(kind, id, 0, "it was inserted: rows up to and above its id were sealed without it")
			return nil
		}
		p.position++
		switch {
		case problem != "":
			v.find(kind, id, p.position, problem)
		case hash != leaves[0].hash:
			v.find(kind, id, p.position, "it was changed: its id, its time or its digest is not that of its leaf")
		case kind == audit.FoundInDecisions:
			v.report.Decisions++
		default:
			v.report.Changes++
		}
		leaves = leaves[1:]
		return nil
	})
	for ; err == nil && len(leaves) > 0; leaves = leaves[1:] {
		err = missing(leaves[0])
	}
	return err
}

// unsealedRows checks the rows that no seal covers yet.
func unsealedRows[T any](ctx context.Context, v *verification, sql string, after int64, kind string, check rowCheck[T]) error {
	return eachRow(ctx, v, sql, after, math.MaxInt64, func(row *T) error {
		v.report.Unsealed++
		if id, _, problem := check(row); problem != "" {
			v.find(kind, id, 0, problem)
		}
		return nil
	})
}

func eachRow[T any](ctx context.Context, v *verification, sql string, after, through int64, do func(*T) error) error {
	rows, err := v.db.pool.Query(ctx, sql, pgx.StrictNamedArgs{"after": after, "through": through})
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := pgx.RowToAddrOfStructByName[T](rows)
		if err == nil {
			err = do(row)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

func (v *verification) decision(l *decisionRow) (int64, tlog.Hash, string) {
	if l.Salt == nil {
		user := deref(l.UserID)
		rows := v.forgotten[user]
		if rows == nil {
			rows = &audit.Finding{
				Kind: audit.FoundInDecisions, FirstID: l.ID,
				Problem: fmt.Sprintf("the personal data of user %q were erased, and no usher audit forget is recorded for that", user),
			}
			v.forgotten[user] = rows
		}
		rows.LastID = l.ID
		rows.Rows++
	}
	return l.ID, l.leaf(), l.fault()
}

func (v *verification) change(l *changeRow) (int64, tlog.Hash, string) {
	return l.ID, l.leaf(), l.fault()
}

func (v *verification) reloadErasures(ctx context.Context) error {
	now, err := v.db.erasures(ctx)
	if err != nil {
		return err
	}
	for _, p := range now.prunes {
		for _, old := range v.erased.prunes {
			if p.change == old.change {
				p.missing = old.missing
			}
		}
	}
	v.erased = now
	return nil
}

// erasures are the recorded erasures of parts of the audit.
type erasures struct {
	users  map[string]bool // whose personal data were erased
	prunes []*recordedPrune
}

type recordedPrune struct {
	Pruning
	change  int64 // id of the record
	missing int64 // rows that it explained
}

// explain reports whether a recorded prune explains that the decision is missing.
func (e *erasures) explain(id int64) bool {
	for _, p := range e.prunes {
		if id >= p.FirstID && id <= p.LastID {
			if _, stays := slices.BinarySearch(p.Staying, id); !stays {
				p.missing++
				return true
			}
		}
	}
	return false
}

func (db *DB) erasures(ctx context.Context) (erasures, error) {
	type erasure struct {
		ID                      int64
		Action, Target, Details string
	}
	found, err := ask[erasure](ctx, db, "verify audit", statement("erasures"), nil)
	if err != nil {
		return erasures{}, err
	}
	e := erasures{users: map[string]bool{}}
	for _, f := range found {
		if f.Action == forgetAction {
			e.users[f.Target] = true
			continue
		}
		p := &recordedPrune{change: f.ID}
		// A record that was tampered with explains nothing. The check of the changes
		// reports it.
		if json.Unmarshal([]byte(f.Details), &p.Pruning) == nil {
			e.prunes = append(e.prunes, p)
		}
	}
	return e, nil
}
