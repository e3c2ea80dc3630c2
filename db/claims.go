package db

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
)

// Foreign reports whether the directory is an application's. Claims then only
// select among what the directory lists, and are never stored.
func (d *Directory) Foreign() bool { return d.foreign.Load() }

// PrincipalByClaims returns the principal for the user of an identity provider's
// token: [Directory.PrincipalByUser] in the active organization, until the
// provider's token expires.
//
// In usher's own directory, it first stores what is new in the claims, with the
// provider as the actor: the user, members of the info, and the membership in the
// active organization. If the provider lists all organizations or groups, it also
// ends the memberships that this provider made and no longer lists. Memberships
// made by others stay, and a disabled user stays disabled. A token issued before
// one that was already accepted changes nothing. If nothing is new, it stores only
// the time of the newest token, and only for tokens with memberships.
func (d *Directory) PrincipalByClaims(ctx context.Context, c *principal.ProviderClaims) (*principal.Principal, error) {
	p, err := d.principalOf(ctx, c)
	if err != nil {
		return nil, err
	}
	news, err := d.isNews(ctx, c, p)
	if err != nil {
		return nil, unavailable("compare claims", err)
	}
	if news {
		// Whatever the database error is, the caller can only try again.
		if err := d.writeClaims(ctx, c); err != nil {
			return nil, unavailable("write claims", err)
		}
		if p, err = d.principalOf(ctx, c); err != nil {
			return nil, err
		}
	}
	p.User.Until = c.ExpiresAt
	p.User.Session = d.providerID(c, c.SessionID)
	p.SessionID = cmp.Or(p.User.Session, d.providerID(c, c.TokenID))
	return p, nil
}

// providerID hashes one issuer's id of a session or a token.
func (d *Directory) providerID(c *principal.ProviderClaims, id string) string {
	if id == "" {
		return ""
	}
	return d.sessionID(secret.New(c.Issuer + "\x00" + id))
}

func (d *Directory) principalOf(ctx context.Context, c *principal.ProviderClaims) (*principal.Principal, error) {
	organization := nullable(c.Organization)
	if organization == nil && c.Selective && !d.foreign.Load() {
		organization = new(string) // confined to an id that no organization has
	}
	return d.await(ctx, &pendingLookUp{user: &c.UserID, organization: organization})
}

// isNews reports whether the claims contain something new to usher's own directory.
func (d *Directory) isNews(ctx context.Context, c *principal.ProviderClaims, p *principal.Principal) (bool, error) {
	switch {
	case d.foreign.Load() || p.Disabled:
		return false, nil
	case !p.Known || !hasInfo(p.User.Info, c.Info) || addsActive(c) && p.User.Organization != c.Organization:
		return true, nil
	case c.Organizations == nil && c.Groups == nil && !c.Selective:
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	// Must come before the memberships are read: an older token that writes at the same
	// time is then either seen here, or sees this one.
	if _, err := d.db.pool.Exec(ctx, statement("note_provider_token"), tokenArgs(c)); err != nil {
		return false, err
	}
	if c.Organizations == nil && c.Groups == nil {
		return false, nil
	}
	add, end, err := d.changesOf(ctx, d.db.pool, c)
	return len(add)+len(end) > 0, err
}

// tokenArgs are what usher.provider_tokens stores of a token.
func tokenArgs(c *principal.ProviderClaims) pgx.StrictNamedArgs {
	return pgx.StrictNamedArgs{"user_id": c.UserID, "issuer": c.Issuer, "issued_at": c.IssuedAt.Truncate(time.Microsecond)}
}

// addsActive reports whether to add a membership in the active organization. A
// provider that lists all organizations lists the active one too.
func addsActive(c *principal.ProviderClaims) bool {
	return c.Organizations == nil && principal.IsID(c.Organization)
}

func hasInfo(info json.RawMessage, claimed map[string]string) bool {
	var have map[string]any
	if len(claimed) > 0 && len(info) > 0 && json.Unmarshal(info, &have) != nil {
		return false
	}
	for member, text := range claimed {
		if have[member] != text {
			return false
		}
	}
	return true
}

type membershipRow struct {
	MemberOfKind string
	MemberOfID   string
	Own          bool
}

// changesOf returns the memberships that the claims add and end.
func (d *Directory) changesOf(ctx context.Context, q querier, c *principal.ProviderClaims) (add, end []admin.Subject, err error) {
	rows, err := q.Query(ctx, statement("memberships_of"), pgx.StrictNamedArgs{"user_id": c.UserID, "actor": actorOf(c)})
	if err != nil {
		return nil, nil, err
	}
	have, err := pgx.CollectRows(rows, pgx.RowToStructByName[membershipRow])
	if err != nil {
		return nil, nil, err
	}
	organizations := c.Organizations
	if addsActive(c) {
		organizations = []string{c.Organization}
	}
	for _, of := range []struct {
		kind             string
		claimed, leftOut []string
		whole            bool
	}{
		{admin.OrganizationKind, organizations, c.OrganizationsLeftOut, c.Organizations != nil},
		{admin.GroupKind, c.Groups, c.GroupsLeftOut, c.Groups != nil},
	} {
		for _, id := range of.claimed { // sorted, so that concurrent calls do not deadlock
			if !slices.ContainsFunc(have, func(m membershipRow) bool { return m.MemberOfKind == of.kind && m.MemberOfID == id }) {
				add = append(add, admin.Subject{Kind: of.kind, ID: id})
			}
		}
		for _, m := range have {
			listed := slices.Contains(of.claimed, m.MemberOfID) || slices.Contains(of.leftOut, m.MemberOfID)
			if of.whole && m.Own && m.MemberOfKind == of.kind && !listed {
				end = append(end, admin.Subject{Kind: of.kind, ID: m.MemberOfID})
			}
		}
	}
	return add, end, nil
}

// actorOf names the provider in the history.
func actorOf(c *principal.ProviderClaims) admin.Actor { return admin.Actor("issuer " + c.Issuer) }

// writeClaims stores the claims, unless the directory has become an application's.
func (d *Directory) writeClaims(ctx context.Context, c *principal.ProviderClaims) error {
	return d.db.transactAs(ctx, actorOf(c), "write claims", func(ctx context.Context, tx pgx.Tx) error {
		var own bool
		if err := tx.QueryRow(ctx, statement("own_directory")).Scan(&own); err != nil {
			return err
		}
		if !own {
			d.foreign.Store(true)
			return nil
		}
		var older bool
		if err := tx.QueryRow(ctx, statement("lock_provider_tokens"), tokenArgs(c)).Scan(&older); err != nil || older {
			return err
		}
		if disabled, err := writeUser(ctx, tx, c); err != nil || disabled {
			return ignoreNoRows(err) // the user was just deleted or disabled
		}
		add, end, err := d.changesOf(ctx, tx, c)
		if err != nil {
			return err
		}
		if err := addMemberships(ctx, tx, c, add); err != nil || len(end) == 0 {
			return err
		}
		_, err = endMemberships(ctx, tx, end, c.UserID, actorOf(c))
		return err
	})
}

// writeUser creates the user if new, stores the info, and keeps the user locked. It
// reports whether the user is disabled.
func writeUser(ctx context.Context, tx pgx.Tx, c *principal.ProviderClaims) (disabled bool, err error) {
	var info []byte // null without one
	if len(c.Info) > 0 {
		if info, err = json.Marshal(c.Info); err != nil {
			return false, err
		}
	}
	user, err := queryRow[admin.User](ctx, tx, statement("add_user_if_new"), pgx.StrictNamedArgs{"id": c.UserID, "info": info, "actor": actorOf(c)})
	if err == nil {
		err = recordUser(ctx, tx, "user.add", user)
	}
	if ignoreNoRows(err) != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, statement("lock_user"), pgx.StrictNamedArgs{"id": c.UserID}).Scan(&disabled)
	if err != nil || disabled || info == nil {
		return disabled, err
	}
	user, err = queryRow[admin.User](ctx, tx, statement("update_user_info"), pgx.StrictNamedArgs{"id": c.UserID, "info": info})
	if err != nil {
		return false, ignoreNoRows(err)
	}
	return false, recordUser(ctx, tx, "user.update", user)
}

// addMemberships creates memberships, and before them the organizations and groups
// that are new. A new group belongs to no organization.
func addMemberships(ctx context.Context, tx pgx.Tx, c *principal.ProviderClaims, add []admin.Subject) error {
	if len(add) == 0 {
		return nil
	}
	organizations, groups := idsOf(add, admin.OrganizationKind), idsOf(add, admin.GroupKind)
	newOrganizations, err := list[admin.Organization](ctx, tx, "add organizations", statement("add_organizations_if_new"),
		pgx.StrictNamedArgs{"ids": organizations, "actor": actorOf(c)})
	if err != nil {
		return err
	}
	newGroups, err := list[admin.Group](ctx, tx, "add groups", statement("add_groups_if_new"), pgx.StrictNamedArgs{"ids": groups, "actor": actorOf(c)})
	if err != nil {
		return err
	}
	memberships, err := list[admin.Membership](ctx, tx, "add memberships", statement("add_memberships_if_new"),
		pgx.StrictNamedArgs{"user_id": c.UserID, "organizations": organizations, "groups": groups, "actor": actorOf(c)})
	if err != nil {
		return err
	}
	made := map[admin.Subject][]change{}
	for _, o := range newOrganizations {
		of := admin.Subject{Kind: admin.OrganizationKind, ID: o.ID}
		made[of] = append(made[of], change{"organization.add", o.ID, o})
	}
	for _, g := range newGroups {
		of := admin.Subject{Kind: admin.GroupKind, ID: g.ID}
		made[of] = append(made[of], change{"group.add", g.ID, g})
	}
	for _, m := range memberships {
		of := admin.Subject{Kind: m.MemberOfKind, ID: m.MemberOfID}
		made[of] = append(made[of], change{"member.add", m.MemberOfID, m})
	}
	var changes []change
	for _, of := range add {
		changes = append(changes, made[of]...)
	}
	return recordAll(ctx, tx, changes)
}

// ignoreNoRows is for statements that may have nothing to do.
func ignoreNoRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}
