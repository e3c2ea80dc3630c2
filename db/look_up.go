package db

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

//go:embed queries/look_up_principal.sql
var lookUpPrincipalSQL string

// principalRow is one row of look_up_principal.sql, in the order of its columns.
type principalRow struct {
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
}

// A Directory looks callers up. It is safe for concurrent use.
type Directory struct {
	db   *DB
	salt []byte
}

// Directory returns the look-up, once it has read the deployment's salt.
func (db *DB) Directory(ctx context.Context) (*Directory, error) {
	d, err := db.Deployment(ctx)
	if err != nil {
		return nil, err
	}
	return &Directory{db, d.salt}, nil
}

// PrincipalBySession returns what a token for the bearer of a session rests
// on, in one round trip, or [session.ErrSessionUnknown]. It caches nothing: a
// grant revoked before the call is not in the answer.
func (d *Directory) PrincipalBySession(ctx context.Context, token secret.Text) (*session.Principal, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := d.db.pool.Query(ctx, lookUpPrincipalSQL, token.Reveal(), nil, nil)
	if err != nil {
		return nil, unavailable("look up session", err)
	}
	p, err := collectPrincipal(rows)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, session.ErrSessionUnknown
	}
	if err != nil {
		return nil, unavailable("look up session", err)
	}
	p.User.Session = d.sessionID(token)
	return p, nil
}

func collectPrincipal(rows pgx.Rows) (*session.Principal, error) {
	// By position: finding the fields by name costs as much as reading them.
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[principalRow])
	if err != nil {
		return nil, err
	}
	p := &session.Principal{
		At: r.At,
		User: session.User{
			ID:   r.UserID,
			Info: r.Info,
		},
		Known:    r.Known,
		Disabled: r.Disabled,
		Expired:  r.Expired,
		MemberOf: session.MemberOf{Organizations: r.Organizations, Groups: r.Groups},
		Grants:   make([]session.Grant, len(r.GrantIDs)),
	}
	if r.ExpiresAt != nil {
		p.User.Until = *r.ExpiresAt
	}
	if r.OrganizationID != nil {
		p.User.Organization = *r.OrganizationID
	}
	for i := range p.Grants {
		kind, kindErr := permissions.ParseKind(r.GrantKinds[i])
		access, accessErr := permissions.ParseAccess(r.GrantAccess[i])
		if err := errors.Join(kindErr, accessErr); err != nil {
			return nil, err
		}
		p.Grants[i] = session.Grant{
			ID:          r.GrantIDs[i],
			SubjectKind: r.GrantSubjectKinds[i],
			SubjectID:   r.GrantSubjectIDs[i],
			Kind:        kind,
			Pattern:     r.GrantPatterns[i],
			Access:      access,
		}
	}
	return p, nil
}

// sessionID derives the sid claim: it names a session to usher and says
// nothing of the session token.
func (d *Directory) sessionID(token secret.Text) string {
	h := sha256.New()
	h.Write(d.salt)
	h.Write([]byte(token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
