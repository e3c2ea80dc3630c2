package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/keyencryption"
)

const (
	// SealEvery is how often a replica looks for rows to seal.
	SealEvery = time.Second
	// maxSealed bounds the leaves of one seal.
	maxSealed = 1_000
	// sealTimeout bounds one seal. No request waits for it.
	sealTimeout = 10 * time.Second

	// maxOthersTurn is how long others may seal before this is an error.
	maxOthersTurn = 10 * time.Second

	// sealsLate is how long sealing may fail before [Sealer.Problem] says so: a
	// failover takes less.
	sealsLate = 30 * time.Second
)

// A Sealer appends the rows of the audit to its Merkle tree and signs checkpoints.
// It is not on the issuing path: while it is stopped, usher still issues tokens, and
// their rows are sealed later. Every replica has one; they take turns. A Sealer is
// for one goroutine.
type Sealer struct {
	db     *DB
	signer note.Signer // nil: it seals nothing
	out    io.Writer   // nil: none

	rows     prometheus.Gauge
	failures prometheus.Counter

	now          func() time.Time
	waitingSince time.Time // since when others sealed every time; zero: the last turn was this one's

	oldest atomic.Int64 // time of the oldest unsealed row in microseconds; 0: all are sealed

	// known is the last checkpoint that this process signed or was given. What it
	// seals must extend it.
	known   audit.Checkpoint
	problem atomic.Pointer[sealingProblem] // nil: none
}

type sealingProblem struct {
	since time.Time
	err   error
}

// A SealerConfig configures a [Sealer].
type SealerConfig struct {
	Encryption *keyencryption.Ring // opens the key that signs checkpoints
	// Out also receives each checkpoint of this Sealer, outside of the database
	// (default: only the database stores them).
	Out io.Writer
	// Last is the last signed checkpoint that was written to Out, if any. The Sealer
	// refuses to seal a database that was set back behind it.
	Last string
	// AcceptRollback lets the Sealer go on although the database was set back behind
	// Last, if that has at most so many leaves (default: it does not).
	AcceptRollback int64
	Registry       prometheus.Registerer
	Now            func() time.Time // default: time.Now
}

// NewSealer decrypts the key that signs checkpoints. With [ErrNoCheckpointKey], or if
// the key cannot be decrypted, it also returns a Sealer, which seals nothing and
// only measures the unsealed rows.
func (db *DB) NewSealer(ctx context.Context, cfg SealerConfig) (*Sealer, error) {
	signer, err := db.checkpointSigner(ctx, cfg.Encryption)
	s := &Sealer{
		db: db, signer: signer, out: cfg.Out, now: cfg.Now,
		rows: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "usher_audit_unsealed_rows",
			Help: "Upper bound of the audit's unsealed rows, which can still be changed without a trace.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_audit_seal_failures_total",
			Help: "Failed attempts to seal rows, or to write a checkpoint outside the database. They will be repeated.",
		}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err == nil {
		err = s.remember(ctx, &cfg)
	}
	if err != nil {
		s.signer = nil
		s.problem.Store(&sealingProblem{since: s.now(), err: err})
	}
	cfg.Registry.MustRegister(s.rows, s.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_audit_unsealed_seconds",
		Help: "Age of the audit's oldest unsealed row. Above a minute, sealing has stopped.",
	}, func() float64 {
		now := s.now()
		since := now
		if oldest := s.oldest.Load(); oldest != 0 {
			since = time.UnixMicro(oldest)
		} else if p := s.problem.Load(); p != nil {
			since = p.since // there may be rows that it could not see
		}
		return math.Max(0, now.Sub(since).Seconds())
	}))
	return s, err
}

// remember reads the last checkpoint that was kept outside of the database.
func (s *Sealer) remember(ctx context.Context, cfg *SealerConfig) error {
	if cfg.Last == "" {
		return nil
	}
	keys, err := s.db.verifiers(ctx, s.db.pool)
	if err != nil {
		return err
	}
	last, err := audit.OpenCheckpoint(cfg.Last, keys)
	if err != nil {
		return fmt.Errorf("db: seal: the last kept checkpoint is not of this database (%w): keep this database's checkpoints in a file of their own", err)
	}
	if last.Size > cfg.AcceptRollback {
		s.known = last
		return nil
	}
	return s.db.transactAs(ctx, "usher", "accept rollback", func(ctx context.Context, tx pgx.Tx) error {
		return record(ctx, tx, "audit.accept_rollback", last.Origin, map[string]int64{"checkpoint_size": last.Size})
	})
}

// Problem reports why rows are not sealed, or nil if they are, or will be soon. It
// is safe for concurrent use.
func (s *Sealer) Problem() error {
	p := s.problem.Load()
	if p == nil {
		return nil
	}
	failing := s.now().Sub(p.since)
	if s.signer != nil && failing < sealsLate && !errors.Is(p.err, ErrRolledBack) {
		return nil
	}
	return fmt.Errorf("the audit has not been sealed for %s: %w", failing.Round(time.Second), p.err)
}

// ErrRolledBack says that the database has lost rows that were sealed: it was
// restored, or a failover to an asynchronous standby lost its last transactions.
var ErrRolledBack = errors.New("the database was set back")

func (s *Sealer) rolledBack(sealed int64) error {
	return fmt.Errorf("%w: its audit has %d sealed rows, and usher has signed %d. What was written after them is lost, revocations too. "+
		"Check what is missing, then restart usher with --accept-rollback=%[3]d", ErrRolledBack, sealed, s.known.Size)
}

// extends checks that the stored tree continues the last known checkpoint. Signing
// another one would vouch for a history without the lost rows.
func (s *Sealer) extends(ctx context.Context, tx pgx.Tx, t *audit.Tree) error {
	if s.known.Size == 0 {
		return nil
	}
	if t.Size() < s.known.Size {
		return s.rolledBack(t.Size())
	}
	root := t.Root()
	if t.Size() > s.known.Size {
		var err error
		if root, err = tlog.TreeHash(s.known.Size, storedHashes(ctx, tx)); err != nil {
			return err
		}
	}
	if root != s.known.Root {
		return fmt.Errorf("%w: its first %d sealed rows are not those that usher has signed. Run usher audit verify. "+
			"If the database was restored, check what is missing, then restart usher with --accept-rollback=%[2]d", ErrRolledBack, s.known.Size)
	}
	return nil
}

// Seal seals all settled rows and returns how many it sealed itself. Call it every
// [SealEvery]. If any replica has just sealed rows, a few new ones wait for the next
// call.
func (s *Sealer) Seal(ctx context.Context) (sealed int, err error) { return s.seal(ctx, true) }

// SealNow is Seal without waiting rows, for the last call.
func (s *Sealer) SealNow(ctx context.Context) (sealed int, err error) { return s.seal(ctx, false) }

func (s *Sealer) seal(ctx context.Context, mayRest bool) (sealed int, err error) {
	defer func() {
		switch {
		case err != nil:
			s.failures.Inc()
			problem := &sealingProblem{s.now(), err}
			if before := s.problem.Load(); before != nil {
				problem.since = before.since
			}
			s.problem.Store(problem)
		case s.signer != nil:
			s.problem.Store(nil)
		}
	}()
	rows, resting, err := s.measure(ctx)
	if err != nil || rows == 0 || s.signer == nil || mayRest && resting && rows < maxSealed {
		return 0, err
	}
	// A slow writer delays only the barrier of its own table.
	decisions, decisionsErr := s.settled(ctx, statement("settled_decisions"))
	changes, changesErr := s.settled(ctx, statement("settled_changes"))
	err = errors.Join(decisionsErr, changesErr)
	for {
		n, sealErr := s.sealSome(ctx, decisions, changes)
		sealed += n
		if sealErr != nil || n < maxSealed {
			_, _, measureErr := s.measure(ctx)
			return sealed, errors.Join(err, sealErr, measureErr)
		}
	}
}

// measure sets the metrics. It returns an upper bound of the unsealed rows, and
// whether any were sealed within the last 0.9 s.
func (s *Sealer) measure(ctx context.Context) (rows int64, resting bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	var oldest *time.Time
	var sealed int64
	if err := s.db.pool.QueryRow(ctx, statement("unsealed")).Scan(&rows, &oldest, &resting, &sealed); err != nil {
		return 0, false, unavailable("seal", err)
	}
	if sealed < s.known.Size {
		return 0, false, s.rolledBack(sealed)
	}
	if oldest == nil { // some ids may have no row
		s.oldest.Store(0)
		s.rows.Set(0)
		return 0, resting, nil
	}
	s.oldest.Store(oldest.UnixMicro())
	s.rows.Set(float64(rows))
	return rows, resting, nil
}

// settled returns the highest id of a table up to which no further row can appear,
// or 0 with an error.
func (s *Sealer) settled(ctx context.Context, sql string) (through int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if err := s.db.pool.QueryRow(ctx, sql).Scan(&through); err != nil {
		return 0, unavailable("seal: writers hold the barrier", err)
	}
	return through, nil
}

// unsealedRow is what the leaf of a row is made of.
type unsealedRow struct {
	ID         int64
	RecordedAt pgtype.Timestamptz
	Digest     []byte
}

type lastSeal struct {
	TreeSize         int64
	DecisionsThrough int64
	ChangesThrough   int64
	Checkpoint       string
}

// sealSome seals the next rows up to the settled ids, in the order of their
// ids, decisions first.
func (s *Sealer) sealSome(ctx context.Context, decisionsSettled, changesSettled int64) (sealed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	var signed string
	var next audit.Checkpoint
	err = s.db.begin(ctx, func(tx pgx.Tx) error {
		locked, err := tx.Exec(ctx, statement("lock_seals"))
		if err != nil {
			return err
		}
		if locked.RowsAffected() == 0 {
			return s.othersTurn()
		}
		s.waitingSince = time.Time{}
		last, err := queryRow[lastSeal](ctx, tx, statement("last_seal"), nil)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		t, err := s.resume(ctx, tx, &last)
		if err != nil {
			return err
		}
		if err := s.extends(ctx, tx, t); err != nil {
			return err
		}
		if t.Size() > s.known.Size { // sealed by another replica
			s.known = audit.Checkpoint{Origin: s.signer.Name(), Size: t.Size(), Root: t.Root()}
		}
		decisions, decisionsThrough, err := unsealed(ctx, tx, statement("unsealed_decisions"), last.DecisionsThrough, decisionsSettled, maxSealed)
		if err != nil {
			return err
		}
		changes, changesThrough, err := unsealed(ctx, tx, statement("unsealed_changes"), last.ChangesThrough, changesSettled, maxSealed-len(decisions))
		if err != nil {
			return err
		}
		if sealed = len(decisions) + len(changes); sealed == 0 {
			return nil
		}
		hashes := make([]byte, 0, 2*sealed*tlog.HashSize)
		decisionIDs, hashes := appendLeaves(t, audit.DecisionLeaf, decisions, hashes)
		changeIDs, hashes := appendLeaves(t, audit.ChangeLeaf, changes, hashes)
		next = audit.Checkpoint{Origin: s.signer.Name(), Size: t.Size(), Root: t.Root()}
		if signed, err = next.Sign(s.signer); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, statement("add_seal"), pgx.StrictNamedArgs{
			"first_leaf": last.TreeSize, "tree_size": t.Size(), "decisions_through": decisionsThrough, "changes_through": changesThrough,
			"decision_ids": decisionIDs, "change_ids": changeIDs, "first_hash": tlog.StoredHashCount(last.TreeSize), "hashes": hashes,
			"checkpoint": signed,
		})
		return err
	})
	if err != nil {
		return 0, unavailable("seal", err)
	}
	if signed != "" {
		s.known = next
	}
	if signed != "" && s.out != nil {
		if _, err := io.WriteString(s.out, signed+"\n"); err != nil {
			return sealed, fmt.Errorf("db: seal: a checkpoint was not written outside of the database: %w", err)
		}
	}
	return sealed, nil
}

// othersTurn is the result while another sealer works. That takes less than a
// second, so it becomes an error if it goes on.
func (s *Sealer) othersTurn() error {
	if s.waitingSince.IsZero() {
		s.waitingSince = s.now()
	}
	if waited := s.now().Sub(s.waitingSince); waited >= maxOthersTurn {
		return fmt.Errorf("another session has held the row 'seals' of usher.locks for %s: look for its transaction in pg_stat_activity", waited.Round(time.Second))
	}
	return nil
}

// resume returns the stored tree if it matches the last checkpoint. The sealer must
// not append to a changed tree, because its signature would vouch for that.
func (s *Sealer) resume(ctx context.Context, tx pgx.Tx, last *lastSeal) (*audit.Tree, error) {
	t, err := audit.LoadTree(last.TreeSize, storedHashes(ctx, tx))
	if err != nil || last.TreeSize == 0 {
		return t, err
	}
	verifiers, err := s.db.verifiers(ctx, tx)
	if err != nil {
		return nil, err
	}
	c, err := audit.OpenCheckpoint(last.Checkpoint, verifiers)
	if err != nil || c.Size != t.Size() || c.Root != t.Root() {
		return nil, errBrokenTree
	}
	return t, nil
}

// unsealed returns the rows between two ids, up to a limit, and the id up to which
// the result is complete.
func unsealed(ctx context.Context, tx pgx.Tx, sql string, after, settled int64, atMost int) ([]unsealedRow, int64, error) {
	rows, err := tx.Query(ctx, sql, pgx.StrictNamedArgs{"after": after, "through": settled, "at_most": atMost})
	if err != nil {
		return nil, 0, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[unsealedRow])
	switch {
	case err != nil:
		return nil, 0, err
	case len(found) < atMost:
		return found, max(after, settled), nil
	case len(found) == 0:
		return nil, after, nil
	}
	return found, found[len(found)-1].ID, nil
}

func appendLeaves(t *audit.Tree, leaf func(id int64, recordedAt time.Time, digest []byte) tlog.Hash, rows []unsealedRow, hashes []byte) ([]int64, []byte) {
	ids := make([]int64, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
		hashes = t.Append(leaf(row.ID, timeOf(row.RecordedAt), row.Digest), hashes)
	}
	return ids, hashes
}
