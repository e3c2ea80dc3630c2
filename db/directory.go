package db

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// principalRow is one row of look_up_principals.sql, in the order of its columns.
type principalRow struct {
	N                 int64 // position in the batch, from 1
	UserID            string
	ExpiresAt         *time.Time
	Expired           bool
	OrganizationID    *string
	At                time.Time
	Known             bool
	Info              json.RawMessage
	Disabled          bool
	Organizations     []string
	Groups            []string
	GrantIDs          []int64
	GrantSubjectKinds []string
	GrantSubjectIDs   []string
	GrantKinds        []string
	GrantPatterns     []string
	GrantAccess       []string
	GrantUntils       []*time.Time
}

// Look-ups are sent in batches of at most maxLookUps, two at a time: one is in
// transit while Postgres works on the other.
const (
	maxLookUps     = 64
	lookUpsAtATime = 2
)

// A Directory looks callers up. It is safe for concurrent use.
type Directory struct {
	db      *DB
	salt    []byte
	foreign atomic.Bool // an application's: see PrincipalByClaims
	lookUps batcher[*pendingLookUp]
}

// A pendingLookUp names a session. If token is nil, it names a user and optionally
// an organization, which counts like a session's active one.
type pendingLookUp struct {
	token, user, organization *string

	result lookUpResult
	found  chan lookUpResult // with capacity 1: the worker never waits for a reader
}

type lookUpResult struct {
	principal *principal.Principal
	err       error
}

// Directory returns the look-up, once it has read the deployment's salt.
func (db *DB) Directory(ctx context.Context) (*Directory, error) {
	deployment, err := db.Deployment(ctx)
	if err != nil {
		return nil, err
	}
	d := &Directory{db: db, salt: deployment.salt}
	d.foreign.Store(deployment.Directory != OwnDirectory)
	d.lookUps = batcher[*pendingLookUp]{do: d.lookUp, most: maxLookUps, workers: lookUpsAtATime}
	return d, nil
}

// PrincipalBySession returns the principal of a session's token, in one round trip,
// or [principal.ErrSessionUnknown]. It caches nothing: a grant revoked before the
// call is not in the answer. Concurrent calls share a statement.
func (d *Directory) PrincipalBySession(ctx context.Context, token secret.Text) (*principal.Principal, error) {
	text := token.Reveal()
	p, err := d.await(ctx, &pendingLookUp{token: &text})
	if err != nil {
		return nil, err
	}
	p.User.Session = d.sessionID(token)
	return p, nil
}

// notice reads whether the directory is usher's own.
func (d *Directory) notice(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var own bool
	if err := d.db.pool.QueryRow(ctx, statement("own_directory")).Scan(&own); err != nil {
		return unavailable("look up", err)
	}
	d.foreign.Store(!own)
	return nil
}

// PrincipalByUser is [Directory.PrincipalBySession] for a user that somebody else
// vouches for. A nonempty organization counts like a session's active one. For a
// user that the directory does not list, Known is false.
func (d *Directory) PrincipalByUser(ctx context.Context, user, organization string) (*principal.Principal, error) {
	return d.await(ctx, &pendingLookUp{user: &user, organization: nullable(organization)})
}

// Ready looks up a session and a user that do not exist. An error says why look-ups
// fail now; [DB.Ping] alone would not show it.
func (d *Directory) Ready(ctx context.Context) error {
	if err := d.notice(ctx); err != nil {
		return err
	}
	nobody := "usher:readiness"
	if _, err := d.await(ctx, &pendingLookUp{token: &nobody}); err != nil && !errors.Is(err, principal.ErrSessionUnknown) {
		return err
	}
	_, err := d.await(ctx, &pendingLookUp{user: &nobody})
	return err
}

func (d *Directory) await(ctx context.Context, l *pendingLookUp) (*principal.Principal, error) {
	l.found = make(chan lookUpResult, 1)
	d.lookUps.add(l)
	select {
	case r := <-l.found:
		return r.principal, r.err
	case <-ctx.Done():
		return nil, unavailable("look up", ctx.Err())
	}
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// lookUp answers a batch.
func (d *Directory) lookUp(batch []*pendingLookUp) {
	halve(batch, d.query, func(l *pendingLookUp, err error) {
		if err != nil {
			l.result = lookUpResult{err: unavailable("look up", err)}
		}
		l.found <- l.result
	})
}

// query looks a batch up in the directory that was in force at the last look. If a
// session is not there, or Postgres refuses the statement, it asks whether usher
// directory use has put another one to use meanwhile, and then tries again.
func (d *Directory) query(batch []*pendingLookUp) error {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	for range 2 {
		foreign := d.foreign.Load()
		unknown, err := d.ask(ctx, batch, foreign)
		if err == nil && !unknown || err != nil && !isStatementFault(err) {
			return err
		}
		if err := d.notice(ctx); err != nil {
			return err
		}
		if d.foreign.Load() == foreign {
			return err
		}
	}
	return errDirectoryChanged
}

// ask runs the statement for a batch, and reports whether a session was not found.
func (d *Directory) ask(ctx context.Context, batch []*pendingLookUp, foreign bool) (unknown bool, err error) {
	columns := make([]*string, 3*len(batch))
	tokens, users, organizations := columns[:len(batch)], columns[len(batch):2*len(batch)], columns[2*len(batch):]
	for i, l := range batch {
		tokens[i], users[i], organizations[i] = l.token, l.user, l.organization
		if l.token != nil && !foreign {
			tokens[i] = hashed(*l.token)
		}
	}
	sent := d.db.now()
	rows, err := d.db.pool.Query(ctx, statement("look_up_principals"), tokens, users, organizations)
	if err != nil {
		return false, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[principalRow])
	if err != nil {
		return false, err
	}
	received := d.db.now()
	for _, l := range batch {
		l.result = lookUpResult{err: principal.ErrSessionUnknown} // unless a row replaces it
	}
	for i := range found {
		l := batch[found[i].N-1]
		principal, err := found[i].principal()
		if l.result.principal != nil {
			principal, err = nil, errListedTwice
		}
		if clockErr := d.db.checkClock(found[i].At, sent, received); clockErr != nil {
			principal, err = nil, clockErr
		}
		if err != nil {
			err = unavailable("look up", err)
		}
		l.result = lookUpResult{principal, err}
	}
	for _, l := range batch {
		unknown = unknown || errors.Is(l.result.err, principal.ErrSessionUnknown)
	}
	return unknown, nil
}

// hashed is what usher's own directory gets of a session token, because Postgres may
// log the parameters of statements. An application's tables contain the token itself.
func hashed(token string) *string {
	hash := sha256.Sum256([]byte(token))
	text := hex.EncodeToString(hash[:])
	return &text
}

// errDirectoryChanged says that a look-up does not know which directory to ask.
var errDirectoryChanged = errors.New("the directory was changed repeatedly during the look-up")

// errListedTwice says that the caller could be either of two rows.
var errListedTwice = errors.New("the directory has two rows of one session or user")

func (r *principalRow) principal() (*principal.Principal, error) {
	p := &principal.Principal{
		At: r.At,
		User: session.User{
			ID:           r.UserID,
			Info:         r.Info,
			Organization: deref(r.OrganizationID),
			Until:        deref(r.ExpiresAt),
		},
		Known:    r.Known,
		Disabled: r.Disabled,
		Expired:  r.Expired,
		MemberOf: principal.MemberOf{Organizations: r.Organizations, Groups: r.Groups},
		Grants:   make([]principal.Grant, len(r.GrantIDs)),
	}
	for i := range p.Grants {
		kind, kindErr := permissions.ParseKind(r.GrantKinds[i])
		access, accessErr := permissions.ParseAccess(r.GrantAccess[i])
		if err := errors.Join(kindErr, accessErr); err != nil {
			return nil, err
		}
		// An invalid pattern becomes the zero template, which gives nothing.
		template, _ := permissions.ParseTemplate(kind, r.GrantPatterns[i])
		p.Grants[i] = principal.Grant{
			ID:          r.GrantIDs[i],
			SubjectKind: r.GrantSubjectKinds[i],
			SubjectID:   r.GrantSubjectIDs[i],
			Template:    template,
			Access:      access,
			Until:       deref(r.GrantUntils[i]),
		}
	}
	return p, nil
}

// sessionID derives the sid claim. It identifies a session to usher and reveals
// nothing about the session token.
func (d *Directory) sessionID(token secret.Text) string {
	h := sha256.New()
	h.Write(d.salt)
	h.Write([]byte(token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
