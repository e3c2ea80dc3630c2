package db

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/internal/admin"
)

//go:embed directories/*.sql
var directories embed.FS

// Names of the directories that come with usher.
const (
	OwnDirectory        = "usher" // usher's own tables, with history
	BetterAuthDirectory = "better-auth"
	AuthJSDirectory     = "authjs"
)

const (
	maxDirectorySQL  = 1 << 20
	maxDirectoryName = 128 // bytes

	// ownPath is a search_path in which nobody else can plant objects.
	ownPath = "pg_catalog, pg_temp"
)

// A DirectoryDefinition is SQL that points the directory at an application's tables
// or usher's own: CREATE OR REPLACE of the functions usher.directory_session,
// directory_user and directory_memberships and of the views usher.directory_users
// and directory_members.
type DirectoryDefinition struct {
	Name string `json:"name"` // one that comes with usher, or "file:" and a file's name
	SQL  string `json:"sql"`
}

// BuiltInDirectory returns the definition of that name for a schema's tables, with
// the library's names and all its plugins, and what it would read.
// [DB.PresetDirectory] adapts it to the tables that exist. A name that usher does not
// come with is [admin.ErrNotFound].
func BuiltInDirectory(name, schema string) (d DirectoryDefinition, reads []DirectoryRead, err error) {
	if presetTables[name] != nil {
		if !plainSchema.MatchString(schema) {
			return d, nil, refuseSchema(schema)
		}
		names := defaultNames(name, schema)
		d, err = names.render(name)
		return d, names.reads(name), err
	}
	text, err := directories.ReadFile("directories/" + name + ".sql")
	if err != nil {
		return d, nil, refuse(admin.ErrNotFound, "there is no directory %q: name %s, %s or %s, or a file that ends in .sql",
			name, OwnDirectory, BetterAuthDirectory, AuthJSDirectory)
	}
	d, err = inSchema(name, string(text), schema)
	return d, nil, err
}

// FileDirectory returns the definition that an operator wrote. It replaces {schema}
// by the schema's name, as in the definitions that come with usher.
func FileDirectory(file, text, schema string) (DirectoryDefinition, error) {
	name := path.Base(file)
	if len(text) > maxDirectorySQL || len(name) > maxDirectoryName || !utf8.ValidString(name) || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return DirectoryDefinition{}, refuse(admin.ErrInvalid, "%.100q is not an SQL file in UTF-8 of at most 1 MiB", file)
	}
	return inSchema("file:"+name, text, schema)
}

// plainSchema matches schema names that need no quotes.
var plainSchema = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,62}$`)

func inSchema(name, text, schema string) (DirectoryDefinition, error) {
	if !plainSchema.MatchString(schema) {
		return DirectoryDefinition{}, refuseSchema(schema)
	}
	return DirectoryDefinition{name, strings.ReplaceAll(text, "{schema}", pgx.Identifier{schema}.Sanitize())}, nil
}

func refuseSchema(schema string) error {
	return refuse(admin.ErrInvalid, "%.100q is not a schema name that usher accepts: use letters, digits, _ and -, as in public", schema)
}

// A directoryObject is one of the five objects that make up the directory.
type directoryObject struct {
	Name       string
	IsFunction bool
	Version    string // changes with every CREATE OR REPLACE
	Columns    string
	Stable     bool
	Definer    bool
	Rows       int
	SearchPath string
	Privileges bool // only the service role has them
	Definition string
}

// directoryColumns is what each of the five must return.
var directoryColumns = map[string]string{
	"directory_session":     "TABLE(user_id text, organization_id text, expires_at timestamp with time zone)",
	"directory_user":        "TABLE(info jsonb, disabled boolean)",
	"directory_memberships": "TABLE(kind text, id text, organization_id text)",
	"directory_users":       "id text, info jsonb, disabled boolean",
	"directory_members":     "user_id text, kind text, id text, organization_id text",
}

// DirectoryInForce returns the definition in force, as Postgres prints it.
func (db *DB) DirectoryInForce(ctx context.Context) (DirectoryDefinition, error) {
	var d DirectoryDefinition
	err := db.transact(ctx, "directory", func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, statement("directory_in_force")).Scan(&d.Name); err != nil {
			return err
		}
		// Postgres then writes the schema of every table.
		if err := setLocal(ctx, tx, "search_path", ownPath); err != nil {
			return err
		}
		objects, err := list[directoryObject](ctx, tx, "directory", statement("directory_objects"), nil)
		for _, o := range objects {
			d.SQL += strings.TrimRight(o.Definition, ";\n ") + ";\n\n"
		}
		d.SQL = strings.TrimSpace(d.SQL) + "\n"
		return err
	})
	return d, err
}

// UseDirectory puts a definition in force, in one transaction: a look-up sees the
// old or the new one, never a mix. It needs the owner's role.
//
// It checks the definition on the database's present data. If the definition fails
// a check, nothing changes, and the error is [admin.ErrInvalid] with a sentence. If
// another query blocks the change, it is [admin.ErrInUse]. The warnings are about
// grants whose user ids now belong to others or to nobody.
func (db *DB) UseDirectory(ctx context.Context, d DirectoryDefinition, actor admin.Actor) (warnings []string, err error) {
	err = db.transactAs(ctx, actor, "use directory", func(ctx context.Context, tx pgx.Tx) error {
		var before string
		if err := tx.QueryRow(ctx, statement("lock_directory")).Scan(&before); err != nil {
			return err
		}
		if err := d.define(ctx, tx); err != nil {
			return err
		}
		if err := d.check(ctx, tx); err != nil {
			return err
		}
		has, err := queryRow[grantHolders](ctx, tx, statement("users_gone"), nil)
		if err != nil {
			return err
		}
		warnings = has.warnings(before, d.Name)
		if err := lockLookUps(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, statement("set_directory"), pgx.StrictNamedArgs{"name": d.Name}); err != nil {
			return err
		}
		hash := sha256.Sum256([]byte(d.SQL))
		return record(ctx, tx, "directory.use", d.Name, map[string]string{"before": before, "sqlSha256": hex.EncodeToString(hash[:])})
	})
	if err != nil {
		return nil, err
	}
	return warnings, nil
}

// define runs the definition's SQL and refuses what is not the five objects.
func (d *DirectoryDefinition) define(ctx context.Context, tx pgx.Tx) error {
	before, err := list[directoryObject](ctx, tx, "directory", statement("directory_objects"), nil)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"usher.directory_sql": d.SQL,
		"search_path":         ownPath, // the SQL must name every schema
		"lock_timeout":        "2s",    // an auditor's query holds the views
	} {
		if err := setLocal(ctx, tx, name, value); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, statement("run_directory")); err != nil {
		return d.failed(err)
	}
	// Settings that the SQL may have changed must not affect the checks.
	if err := setLocal(ctx, tx, "search_path", ownPath); err != nil {
		return err
	}
	after, err := list[directoryObject](ctx, tx, "directory", statement("directory_objects"), nil)
	if err != nil {
		return err
	}
	for name, columns := range directoryColumns {
		named := func(o directoryObject) bool { return o.Name == name }
		was, is := slices.IndexFunc(before, named), slices.IndexFunc(after, named)
		if is < 0 {
			return d.refuse("after it, there is no usher.%s with the arguments that usher calls it with", name)
		}
		if was >= 0 && before[was].Version == after[is].Version {
			return d.refuse("it does not define usher.%s: CREATE OR REPLACE all of %s", name, strings.Join(slices.Sorted(maps.Keys(directoryColumns)), ", "))
		}
		if fault := d.fault(&after[is], columns); fault != "" {
			return d.refuse("usher.%s %s", name, fault)
		}
	}
	return nil
}

// fault says what is wrong with how an object is declared, or nothing.
func (d *DirectoryDefinition) fault(o *directoryObject, columns string) string {
	most := 1
	if o.Name == "directory_memberships" {
		most = 100
	}
	switch {
	case o.Columns != columns:
		return "returns " + o.Columns + ", not " + columns
	case !o.Privileges:
		return "has other privileges: use CREATE OR REPLACE, which keeps them, instead of DROP and CREATE; only usher's service role may use it"
	case !o.IsFunction:
		return ""
	case !o.Stable:
		return "is VOLATILE: declare it STABLE"
	case o.Rows < 1 || o.Rows > most:
		return fmt.Sprintf("is declared with ROWS %d, which misleads Postgres' planner: declare ROWS %d", o.Rows, min(most, 10))
	case d.Name == OwnDirectory: // plain SQL over tables that the service may read
		return ""
	case !o.Definer:
		return "is not SECURITY DEFINER: declare it so, because usher's service must not read the application's tables"
	case o.SearchPath != ownPath && o.SearchPath != `""`:
		return "runs with its owner's rights, so declare it with SET search_path = " + ownPath + ", and name the schema of every table"
	}
	return ""
}

// malformed are texts that are nobody's id or token, though a cast could read some
// of them as one.
var malformed = []string{
	"", " ", "not-a-uuid", "-1", "0x1", "1e3", "9999999999999999999999", "NaN", "null", "%", "_",
	`'`, `"`, `\`, "' OR true --", "$$", "{}", "a.b.c", "\x01", "ａｄａ", "Ⅷ", "a\u0301", "😀",
	"00000000-0000-0000-0000-000000000000", strings.Repeat("x", 10_000), strings.Repeat("9", 10_000),
}

// check calls the functions as look-ups do, on the present data.
func (d *DirectoryDefinition) check(ctx context.Context, tx pgx.Tx) error {
	faults, err := column(ctx, tx, statement("directory_faults"))
	if err != nil {
		return d.failed(err)
	}
	if len(faults) > 0 {
		return d.refuse("%s", strings.Join(faults, "; "))
	}
	samples, err := column(ctx, tx, statement("directory_samples"))
	if err != nil {
		return d.failed(err)
	}
	// First, since a plan may be kept for the next call.
	if err := d.checkScans(ctx, tx, append(samples, "nobody")); err != nil {
		return err
	}
	texts := slices.Clone(malformed)
	for _, id := range samples {
		var agrees struct{ UserAgrees, MembershipsAgree bool }
		err := tx.QueryRow(ctx, statement("directory_agrees"), pgx.StrictNamedArgs{"id": id}).Scan(&agrees.UserAgrees, &agrees.MembershipsAgree)
		if err != nil {
			return d.failed(err)
		}
		if !agrees.UserAgrees {
			return d.refuse("for user %.64q, usher.directory_user does not return the one row that usher.directory_users has", id)
		}
		if !agrees.MembershipsAgree {
			return d.refuse("for user %.64q, usher.directory_memberships returns other rows than usher.directory_members", id)
		}
		// Other spellings, which a column of another type or collation may treat as the same.
		texts = append(texts, " "+id, id+" ", "0"+id, "+"+id, strings.ToUpper(id), strings.ToLower(id), "{"+id+"}")
	}
	for _, text := range texts {
		if err := d.checkNobody(ctx, tx, text); err != nil {
			return err
		}
	}
	return nil
}

// checkNobody checks that a text that is nobody's id or token finds no row.
func (d *DirectoryDefinition) checkNobody(ctx context.Context, tx pgx.Tx, text string) error {
	for _, function := range []string{"directory_session", "directory_user", "directory_memberships"} {
		var rows int64
		err := tx.QueryRow(ctx, statement("directory_rows"), pgx.StrictNamedArgs{"function": function, "text": text}).Scan(&rows)
		if err != nil {
			return d.refuse("usher.%s(%.64q) fails: return no row for a malformed text: %s", function, text, message(err))
		}
		if rows == 0 {
			continue
		}
		listed := false
		if function != "directory_session" {
			if err := tx.QueryRow(ctx, statement("directory_lists"), pgx.StrictNamedArgs{"id": text}).Scan(&listed); err != nil {
				return err
			}
		}
		if !listed {
			return d.refuse("usher.%s(%.64q) returns a row, and nobody has exactly this id: compare byte by byte", function, text)
		}
	}
	return nil
}

// checkScans refuses a look-up that reads a whole table. It uses Postgres'
// statistics, because the plans inside a function are not visible: a table that is
// scanned although scans are disabled has no index for the look-up.
func (d *DirectoryDefinition) checkScans(ctx context.Context, tx pgx.Tx, ids []string) error {
	// Postgres may also read all of an index without its table, which the statistics
	// would not count.
	scans := []string{"enable_seqscan", "enable_indexonlyscan"}
	for _, scan := range scans {
		if err := setLocal(ctx, tx, scan, "off"); err != nil {
			return err
		}
	}
	for _, function := range []string{"directory_session", "directory_user", "directory_memberships"} {
		before, err := tableScans(ctx, tx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			var rows int64
			err := tx.QueryRow(ctx, statement("directory_rows"), pgx.StrictNamedArgs{"function": function, "text": id}).Scan(&rows)
			if err != nil {
				return d.refuse("usher.%s(%.64q) fails: %s", function, id, message(err))
			}
		}
		after, err := tableScans(ctx, tx)
		if err != nil {
			return err
		}
		for table, scans := range after {
			if scans > before[table] {
				return d.refuse("usher.%s reads all of %s to find one row: compare a column as it is, without a cast, and make the index that is missing: "+
					"CREATE INDEX CONCURRENTLY ON %[2]s (%[3]s)", function, table, d.indexed(table))
			}
		}
	}
	for _, scan := range scans {
		if err := setLocal(ctx, tx, scan, "on"); err != nil {
			return err
		}
	}
	return nil
}

// indexed names the column by which a table is looked up, where that is known.
func (d *DirectoryDefinition) indexed(table string) string {
	_, name, _ := strings.Cut(table, ".")
	return cmp.Or(map[string]map[string]string{
		AuthJSDirectory:     {"sessions": `"sessionToken"`, `users`: "id"},
		BetterAuthDirectory: {"session": "token", `"user"`: "id", "member": `"userId"`, `"teamMember"`: `"userId"`, "team": "id"},
	}[d.Name][name], "the column that it compares")
}

func tableScans(ctx context.Context, tx pgx.Tx) (map[string]int64, error) {
	type scan struct {
		Name  string
		Scans int64
	}
	rows, err := list[scan](ctx, tx, "table scans", statement("table_scans"), nil)
	scans := map[string]int64{}
	for _, r := range rows {
		scans[r.Name] = r.Scans
	}
	return scans, err
}

func column(ctx context.Context, tx pgx.Tx, sql string) ([]string, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func setLocal(ctx context.Context, tx pgx.Tx, name, value string) error {
	_, err := tx.Exec(ctx, statement("set_local"), pgx.StrictNamedArgs{"name": name, "value": value})
	return err
}

// lockLookUps blocks look-ups until the transaction ends. New look-ups queue behind
// it while it waits for running ones, so its own wait is short.
func lockLookUps(ctx context.Context, tx pgx.Tx) error {
	if err := setLocal(ctx, tx, "lock_timeout", "200ms"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, statement("lock_look_ups"))
	if hasCode(err, lockNotAvailable) {
		return refuse(admin.ErrInUse, "a long query reads usher.grants, and every request would wait for it: try again when it has ended")
	}
	return err
}

func (d *DirectoryDefinition) refuse(format string, args ...any) error {
	return refuse(admin.ErrInvalid, "directory %s is refused, and nothing has changed: %s", d.Name, fmt.Sprintf(format, args...))
}

// failed turns an error of Postgres about the definition into a sentence.
func (d *DirectoryDefinition) failed(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return err
	case pgErr.Code == lockNotAvailable:
		return refuse(admin.ErrInUse, "a long query reads the directory's views: try again when it has ended")
	case pgErr.InternalPosition > 0 && pgErr.InternalQuery == d.SQL:
		read := []rune(d.SQL)[:pgErr.InternalPosition-1]
		return d.refuse("line %d: %s", 1+strings.Count(string(read), "\n"), message(err))
	}
	return d.refuse("%s", message(err))
}

// message is the message of a Postgres error, without its position.
func message(err error) string {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err.Error()
	}
	return strings.TrimSuffix(pgErr.Message+": "+cmp.Or(pgErr.Hint, pgErr.Detail), ": ")
}

// grantHolders counts the users who have grants, and returns the ids of those that
// the directory does not list.
type grantHolders struct {
	Holders int64
	Gone    []string
}

// warnings says what a new directory means for the existing grants.
func (h *grantHolders) warnings(before, now string) (warnings []string) {
	if n := len(h.Gone); n > 0 {
		warnings = append(warnings, fmt.Sprintf("users who have grants and are not listed by this directory: %d of %d; "+
			"usher directory sweep lists them, and revokes their grants with --revoke", n, h.Holders))
	}
	if same := h.Holders - int64(len(h.Gone)); before != now && same > 0 {
		warnings = append(warnings, fmt.Sprintf("users who already have grants, and are listed by this directory: %d; "+
			"the grants now count for whoever has those ids here: revoke them if these are other people", same))
	}
	return warnings
}

// GoneUsers returns the ids of users who have grants and are not in the
// directory.
func (db *DB) GoneUsers(ctx context.Context) ([]string, error) {
	var holders grantHolders
	err := db.transact(ctx, "gone users", func(ctx context.Context, tx pgx.Tx) (err error) {
		holders, err = queryRow[grantHolders](ctx, tx, statement("users_gone"), nil)
		return err
	})
	return holders.Gone, err
}

// RevokeGone revokes the grants of the users that [DB.GoneUsers] returns, so that a
// later user with the same id inherits nothing.
func (db *DB) RevokeGone(ctx context.Context, actor admin.Actor) (revoked []admin.Grant, err error) {
	err = db.transactAs(ctx, actor, "revoke gone", func(ctx context.Context, tx pgx.Tx) error {
		holders, err := queryRow[grantHolders](ctx, tx, statement("users_gone"), nil)
		if err != nil {
			return err
		}
		revoked, err = holders.revoke(ctx, tx, actor)
		return err
	})
	return revoked, err
}

// Sweep is [DB.RevokeGone] for an unattended service. For usher's own directory it
// does nothing, because deleting a user there revokes their grants. If more than
// one user, and more than one in ten of those with grants, are gone, it revokes
// nothing and returns [admin.ErrInUse]: the table may be the wrong one, or one that
// is being restored.
func (db *DB) Sweep(ctx context.Context, actor admin.Actor) (revoked []admin.Grant, err error) {
	err = db.transactAs(ctx, actor, "sweep", func(ctx context.Context, tx pgx.Tx) error {
		var directory string
		if err := tx.QueryRow(ctx, statement("directory_in_force")).Scan(&directory); err != nil || directory == OwnDirectory {
			return err
		}
		holders, err := queryRow[grantHolders](ctx, tx, statement("users_gone"), nil)
		if err != nil {
			return err
		}
		if n := int64(len(holders.Gone)); n > max(1, holders.Holders/10) {
			return refuse(admin.ErrInUse, "directory %s does not list %d of the %d users who have grants, too many to be deletions: "+
				"nothing was revoked. If they are deletions, run usher directory sweep --revoke", directory, n, holders.Holders)
		}
		revoked, err = holders.revoke(ctx, tx, actor)
		return err
	})
	return revoked, err
}

func (h *grantHolders) revoke(ctx context.Context, tx pgx.Tx, actor admin.Actor) ([]admin.Grant, error) {
	if len(h.Gone) == 0 {
		return nil, nil
	}
	revoked, err := list[admin.Grant](ctx, tx, "revoke", statement("revoke_grants_of_users"), pgx.StrictNamedArgs{"users": h.Gone, "actor": actor})
	if err != nil {
		return nil, err
	}
	for i := range revoked {
		if err := record(ctx, tx, "grant.revoke", strconv.FormatInt(revoked[i].ID, 10), revoked[i]); err != nil {
			return nil, err
		}
	}
	return revoked, nil
}
