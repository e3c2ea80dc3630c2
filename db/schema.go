package db

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed schema/*.sql
var schemaFS embed.FS

// schemaStep is the name of the step that applies the files of ./schema.
const schemaStep = "views and functions"

// schemaFiles are the files of ./schema in the order of their dependencies.
var schemaFiles = []string{
	"schema/directory.sql", "directories/usher.sql", "schema/grants.sql", "schema/decisions.sql", "schema/changes.sql",
	"schema/keys.sql", "schema/patterns.sql", "schema/members.sql", "schema/who_can.sql", "schema/who_could.sql",
	"schema/what_can.sql", "schema/why.sql", "schema/holders.sql", "schema/reports.sql", "schema/seals.sql", "schema/privileges.sql",
}

// A schemaObject is one statement of these files, and what it creates: a FUNCTION,
// a VIEW, a TYPE, a TRIGGER, or nothing (COMMENT, GRANT, REVOKE).
type schemaObject struct {
	kind string
	name string // schema.name; of a trigger schema.table.name
	sql  string
}

func (o *schemaObject) key() string { return o.kind + " " + o.name }

// isDirectory reports whether it is one of the five objects that usher directory
// use replaces.
func (o *schemaObject) isDirectory() bool {
	name, ok := strings.CutPrefix(o.name, "usher.")
	return ok && directoryColumns[name] != ""
}

var (
	madeObject  = regexp.MustCompile(`^CREATE (?:OR REPLACE )?(FUNCTION|VIEW|TYPE) ((?:usher|audit)\.\w+)`)
	madeTrigger = regexp.MustCompile(`^CREATE OR REPLACE TRIGGER (\w+)(?s:.*?) ON ((?:usher|audit)\.\w+)`)
)

// schemaObjects returns the statements of the schema's files in order.
func schemaObjects() []schemaObject {
	var objects []schemaObject
	for _, file := range schemaFiles {
		for _, sql := range splitSchema(readSchemaFile(file)) {
			o := schemaObject{sql: sql}
			if m := madeObject.FindStringSubmatch(sql); m != nil {
				o.kind, o.name = m[1], m[2]
			} else if m := madeTrigger.FindStringSubmatch(sql); m != nil {
				o.kind, o.name = "TRIGGER", m[2]+"."+m[1]
			}
			objects = append(objects, o)
		}
	}
	return objects
}

func readSchemaFile(file string) string {
	files := schemaFS
	if strings.HasPrefix(file, "directories/") {
		files = directories
	}
	text, err := files.ReadFile(file)
	if err != nil {
		panic(err) // they are embedded
	}
	return string(text)
}

// splitSchema splits SQL in the style of ./schema: a statement starts at the
// beginning of a line, ends at the end of one, and quotes bodies with $$.
func splitSchema(text string) []string {
	var all []string
	var one strings.Builder
	quoted := false
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\n")
		if one.Len() == 0 && (bare == "" || strings.HasPrefix(bare, "--")) {
			continue
		}
		one.WriteString(line)
		if strings.Count(bare, "$$")%2 == 1 {
			quoted = !quoted
		}
		if !quoted && strings.HasSuffix(bare, ";") {
			all = append(all, strings.TrimSpace(one.String()))
			one.Reset()
		}
	}
	if rest := strings.TrimSpace(one.String()); rest != "" {
		all = append(all, rest)
	}
	return all
}

// schemaHash is a hash of all files of the schema.
func schemaHash() string {
	h := sha256.New()
	for _, o := range schemaObjects() {
		h.Write([]byte(o.sql + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A placedObject is a function, view, type or trigger of the database.
type placedObject struct {
	Kind, Name string
	ID         string // as DROP takes it
	Version    string // changes with every CREATE OR REPLACE
}

// applySchema replaces the views and functions by those of this binary, unless they
// were the last ones applied. An application's directory stays as it is.
func applySchema(ctx context.Context, tx pgx.Tx, roles Roles) (changed bool, err error) {
	var hash string
	var recorded []string
	err = tx.QueryRow(ctx, statement("schema_applied")).Scan(&hash, &recorded)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, err
	}
	if hash == schemaHash() {
		return false, nil
	}
	if err := setLocal(ctx, tx, "search_path", ownPath); err != nil {
		return false, err
	}
	var directory string
	if err := tx.QueryRow(ctx, statement("directory_in_force")).Scan(&directory); err != nil {
		return false, err
	}
	s := schemaUpdate{tx: tx, roles: roles, ours: map[string]bool{}, replaced: map[string]bool{}}
	for _, o := range schemaObjects() {
		if o.isDirectory() && directory != OwnDirectory {
			continue
		}
		s.objects = append(s.objects, o)
		if o.kind != "" {
			s.ours[o.key()] = true
		}
	}
	wanted := slices.Sorted(maps.Keys(s.ours))
	for _, key := range recorded {
		s.ours[key] = true
	}
	if err := s.run(ctx, wanted); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, statement("set_schema_applied"), pgx.StrictNamedArgs{"sha256": schemaHash(), "objects": wanted})
	return true, err
}

type schemaUpdate struct {
	tx       pgx.Tx
	roles    Roles
	objects  []schemaObject
	ours     map[string]bool // by key: of this binary, or applied by the last one
	replaced map[string]bool // by key: dropped, since OR REPLACE could not change them
}

func (s *schemaUpdate) run(ctx context.Context, wanted []string) error {
	before, err := list[placedObject](ctx, s.tx, "schema objects", statement("schema_objects"), nil)
	if err != nil {
		return err
	}
	privileges, err := s.privileges(ctx)
	if err != nil {
		return err
	}
	for again := true; again; {
		if again, err = s.makeAll(ctx); err != nil {
			return err
		}
	}
	if err := s.dropStale(ctx, before, wanted); err != nil {
		return err
	}
	has, err := s.privileges(ctx)
	if err != nil {
		return err
	}
	objects, err := list[placedObject](ctx, s.tx, "schema objects", statement("schema_objects"), nil)
	if err != nil {
		return err
	}
	for sql, object := range privileges {
		_, still := has[sql]
		there := slices.ContainsFunc(objects, func(o placedObject) bool { return o.ID == strings.TrimPrefix(object, "FUNCTION ") })
		if still || !there {
			continue
		}
		if _, err := s.tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// makeAll runs all statements. It reports whether they must run again, because an
// object was dropped together with its dependents.
func (s *schemaUpdate) makeAll(ctx context.Context) (again bool, err error) {
	for i := range s.objects {
		o := &s.objects[i]
		if o.kind == "" || o.kind == "TRIGGER" {
			if _, err := s.tx.Exec(ctx, s.roles.in(o.sql)); err != nil {
				return false, fmt.Errorf("%.80s: %w", o.sql, err)
			}
			continue
		}
		err := s.make(ctx, o)
		switch {
		case err == nil:
			continue
		case !errors.Is(err, errMustDrop) && !hasCode(err, invalidView, invalidFunction), s.replaced[o.key()]:
			return false, fmt.Errorf("%s: %w", o.key(), err)
		}
		s.replaced[o.key()] = true
		if err := s.drop(ctx, o); err != nil {
			return false, err
		}
		return true, nil
	}
	return false, nil
}

// errMustDrop says that the type exists with other columns.
var errMustDrop = errors.New("db: the type has other columns")

func (s *schemaUpdate) make(ctx context.Context, o *schemaObject) error {
	// In a savepoint: after an error, the transaction itself would refuse everything.
	return pgx.BeginFunc(ctx, s.tx, func(tx pgx.Tx) error {
		if o.kind != "TYPE" {
			_, err := tx.Exec(ctx, o.sql)
			return err
		}
		exists, same, err := sameType(ctx, tx, o)
		switch {
		case err != nil || same:
			return err
		case exists:
			return errMustDrop
		}
		_, err = tx.Exec(ctx, o.sql)
		return err
	})
}

// sameType reports whether a type exists with the same columns. It creates a
// temporary type to learn the columns that the statement means.
func sameType(ctx context.Context, tx pgx.Tx, o *schemaObject) (exists, same bool, err error) {
	has, err := typeColumns(ctx, tx, o.name)
	if err != nil || has == "" {
		return false, false, err
	}
	if _, err := tx.Exec(ctx, inTemp(o)); err != nil {
		return true, false, err
	}
	wants, err := typeColumns(ctx, tx, tempName(o))
	if err == nil {
		_, err = tx.Exec(ctx, "DROP TYPE "+tempName(o))
	}
	return true, has == wants, err
}

func typeColumns(ctx context.Context, tx pgx.Tx, name string) (columns string, err error) {
	err = tx.QueryRow(ctx, statement("type_columns"), pgx.StrictNamedArgs{"name": name}).Scan(&columns)
	return columns, err
}

// drop drops an object and usher's own objects that depend on it. If others' objects
// depend on it, it drops nothing, and the error names them.
func (s *schemaUpdate) drop(ctx context.Context, o *schemaObject) error {
	ids, err := s.idsOf(ctx, o)
	if err != nil {
		return err
	}
	before, err := s.others(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.tx.Exec(ctx, "DROP "+o.kind+" IF EXISTS "+id+" CASCADE"); err != nil {
			return fmt.Errorf("drop %s: %w", id, err)
		}
	}
	after, err := s.others(ctx)
	if err != nil {
		return err
	}
	var lost []string
	for _, description := range before {
		if !slices.Contains(after, description) {
			lost = append(lost, description)
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("nothing has changed: this version changes the columns of %s, and these use it: %s. Drop them, run usher migrate up, and create them again",
			o.name, strings.Join(lost, ", "))
	}
	return nil
}

func (s *schemaUpdate) idsOf(ctx context.Context, o *schemaObject) ([]string, error) {
	objects, err := list[placedObject](ctx, s.tx, "schema objects", statement("schema_objects"), nil)
	var ids []string
	for _, p := range objects {
		if p.Kind == o.kind && p.Name == o.name {
			ids = append(ids, p.ID)
		}
	}
	return ids, err
}

// others describes objects that may depend on usher's and are not usher's.
func (s *schemaUpdate) others(ctx context.Context) ([]string, error) {
	type object struct {
		Name        *string
		Description string
	}
	objects, err := list[object](ctx, s.tx, "foreign objects", statement("foreign_objects"), nil)
	var others []string
	for _, o := range objects {
		isOurs := func(kind string) bool { return o.Name != nil && s.ours[kind+" "+*o.Name] }
		if !slices.ContainsFunc([]string{"FUNCTION", "VIEW", "TYPE", "TRIGGER"}, isOurs) {
			others = append(others, o.Description)
		}
	}
	return others, err
}

// privileges returns the GRANT statements for the present privileges of others.
func (s *schemaUpdate) privileges(ctx context.Context) (map[string]string, error) {
	type privilege struct{ SQL, Object string }
	found, err := list[privilege](ctx, s.tx, "schema privileges", statement("schema_privileges"), nil)
	privileges := map[string]string{}
	for _, p := range found {
		privileges[p.SQL] = p.Object
	}
	return privileges, err
}

// dropStale drops objects of the last binary that this one does not have, and
// functions of the same name with other arguments. It needs several passes, because
// they depend on each other.
func (s *schemaUpdate) dropStale(ctx context.Context, before []placedObject, wanted []string) error {
	var last error
	for range len(before) + 1 {
		now, err := list[placedObject](ctx, s.tx, "schema objects", statement("schema_objects"), nil)
		if err != nil {
			return err
		}
		last = nil
		dropped := false
		for _, o := range now {
			key := o.Kind + " " + o.Name
			unnamed := s.ours[key] && !slices.Contains(wanted, key)
			untouched := o.Kind == "FUNCTION" && slices.Contains(wanted, key) && slices.Contains(before, o)
			if (!unnamed && !untouched) || (&schemaObject{name: o.Name}).isDirectory() {
				continue
			}
			err := pgx.BeginFunc(ctx, s.tx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "DROP "+o.Kind+" "+o.ID)
				return err
			})
			if err != nil {
				last = fmt.Errorf("%s is no longer part of usher, and other objects depend on it. Drop those first: %w", o.ID, err)
				continue
			}
			dropped = true
		}
		if !dropped {
			break
		}
	}
	return last
}
