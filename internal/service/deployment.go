package service

import (
	"errors"
	"fmt"

	"github.com/usher-auth/usher/db"
)

// checkDeployment refuses a database that does not belong to this usher, or with which
// usher's promises would not hold.
func checkDeployment(d *db.Deployment, mode db.Mode, cookiesSigned bool) error {
	if d.Mode != mode {
		return &db.WrongModeError{Got: d.Mode, Want: mode}
	}
	if err := CheckDatabase(*d); err != nil {
		return err
	}
	switch {
	case d.MayRewriteAudit:
		return fmt.Errorf("the database role may change audit rows: serve with a role that is a member of %s only, not with the owner", d.Roles.Service)
	case d.MayCreateInPublic:
		return errors.New("the database role may create objects in schema public, where they could replace Postgres' own: run REVOKE CREATE ON SCHEMA public FROM PUBLIC as the owner of the schema")
	case d.Directory == db.BetterAuthDirectory && !cookiesSigned: // every cookie would be refused
		return errors.New("the directory is Better Auth's, which signs its session cookie: set its secret (BETTER_AUTH_SECRET) with --session-cookie-secret or --session-cookie-secret-file")
	}
	return nil
}

// CheckDatabase refuses a database that must not be used to issue tokens.
func CheckDatabase(d db.Deployment) error {
	switch {
	case d.SchemaVersion < db.SchemaVersion():
		return fmt.Errorf("the database has schema version %d and this usher needs %d: run usher migrate up", d.SchemaVersion, db.SchemaVersion())
	case d.LosesCommits:
		return errors.New("the database may lose acknowledged commits (synchronous_commit or fsync is off), and a token would then have no audit row: turn them on")
	}
	return nil
}
