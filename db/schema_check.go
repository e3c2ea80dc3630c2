package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// SchemaDifferences returns a line for each view, function, type and trigger of
// schemas usher and audit that differs from what this binary's usher migrate up
// creates: missing, changed, disabled or unknown. It does not compare the five
// objects of an application's directory.
//
// It changes nothing. It needs the privilege TEMPORARY on the database, because it
// compares each object with a temporary copy.
func (db *DB) SchemaDifferences(ctx context.Context) (differences []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if differences, err = schemaDifferences(ctx, tx); err != nil {
			return err
		}
		return errTakeBack
	})
	if errors.Is(err, errTakeBack) {
		return differences, nil
	}
	return nil, failed("schema differences", err)
}

func schemaDifferences(ctx context.Context, tx pgx.Tx) ([]string, error) {
	for name, value := range map[string]string{"search_path": ownPath, "check_function_bodies": "off"} {
		if err := setLocal(ctx, tx, name, value); err != nil {
			return nil, err
		}
	}
	var directory string
	if err := tx.QueryRow(ctx, statement("directory_in_force")).Scan(&directory); err != nil {
		return nil, err
	}
	found, err := definitions(ctx, tx, "usher", "audit")
	if err != nil {
		return nil, err
	}
	has := map[string]string{}
	for _, d := range found {
		has[d.Kind+" "+d.Name] += d.Definition
	}
	var differences []string
	for _, o := range schemaObjects() {
		if o.kind == "" {
			continue
		}
		got, ok := has[o.key()]
		delete(has, o.key())
		if o.isDirectory() && directory != OwnDirectory {
			continue
		}
		if !ok {
			differences = append(differences, o.key()+" is missing")
			continue
		}
		want, err := wantedDefinition(ctx, tx, &o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.key(), err)
		}
		if got != want {
			differences = append(differences, o.key()+" is not as usher made it")
		}
	}
	for key := range has {
		differences = append(differences, key+" was not made by usher")
	}
	slices.Sort(differences)
	return differences, nil
}

// wantedDefinition returns the definition of a temporary copy of an object. It
// creates the copy in a savepoint and rolls that back.
func wantedDefinition(ctx context.Context, tx pgx.Tx, o *schemaObject) (definition string, err error) {
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if o.kind == "TRIGGER" {
			if err := makeTriggerParts(ctx, tx, o); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, inTemp(o)); err != nil {
			return err
		}
		found, err := definitions(ctx, tx, "pg_temp")
		if err != nil {
			return err
		}
		for _, d := range found {
			if d.Kind == o.kind {
				definition += d.Definition
			}
		}
		return errTakeBack
	})
	if errors.Is(err, errTakeBack) {
		return definition, nil
	}
	return "", err
}

// makeTriggerParts creates temporary copies of a trigger's table and function. They
// have only the names and columns that the trigger's definition needs.
func makeTriggerParts(ctx context.Context, tx pgx.Tx, o *schemaObject) error {
	table := o.name[:strings.LastIndex(o.name, ".")]
	var columns string
	if err := tx.QueryRow(ctx, statement("table_columns"), pgx.StrictNamedArgs{"name": table}).Scan(&columns); err != nil {
		return err
	}
	function := triggerFunction.FindStringSubmatch(o.sql)[1]
	_, err := tx.Exec(ctx, fmt.Sprintf("CREATE TEMPORARY TABLE %s (%s); CREATE FUNCTION pg_temp.%s() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
		strings.Replace(table, "usher.", "pg_temp.", 1), columns, function))
	return err
}

var (
	triggerFunction = regexp.MustCompile(`EXECUTE FUNCTION usher\.(\w+)\(`)
	triggerTable    = regexp.MustCompile(` ON usher\.`)
)

func tempName(o *schemaObject) string {
	_, name, _ := strings.Cut(o.name, ".")
	return "pg_temp." + name
}

// inTemp is the statement that creates a temporary copy of an object. The copy
// refers to the same objects.
func inTemp(o *schemaObject) string {
	if o.kind == "TRIGGER" {
		sql := triggerTable.ReplaceAllString(o.sql, " ON pg_temp.")
		return strings.Replace(sql, "EXECUTE FUNCTION usher.", "EXECUTE FUNCTION pg_temp.", 1)
	}
	return strings.Replace(o.sql, o.kind+" "+o.name, o.kind+" "+tempName(o), 1)
}

type definition struct{ Kind, Name, Definition string }

// definitions returns Postgres' definition of each object in some schemas, without
// the schema of a trigger's table and function.
func definitions(ctx context.Context, tx pgx.Tx, schemas ...string) ([]definition, error) {
	return list[definition](ctx, tx, "definitions", statement("schema_definitions"), pgx.StrictNamedArgs{"schemas": schemas})
}
