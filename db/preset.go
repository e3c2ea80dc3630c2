package db

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// A Preset is a directory that comes with usher, for an application's tables.
type Preset struct {
	Name   string // [BetterAuthDirectory], [AuthJSDirectory] or [OwnDirectory]
	Schema string // of the application's tables

	// Tables and Columns map the library's names to the application's: "member":
	// "members", "banned": "is_banned". "member.userId" is the column of one table
	// only. Names that are not mapped are the library's, or their snake_case.
	Tables, Columns map[string]string

	// AllowAnonymous issues tokens to anonymous users (Better Auth's anonymous
	// plugin). Otherwise they count as disabled.
	AllowAnonymous bool
}

// A DirectoryRead is one thing that a preset reads, such as bans, and where.
type DirectoryRead struct {
	What  string `json:"what"`
	State string `json:"state,omitempty"` // found, absent or contradictory; empty without a database
	From  string `json:"from,omitempty"`  // columns, as table.column
	Note  string `json:"note,omitempty"`
}

// States of a [DirectoryRead].
const (
	ReadFound         = "found"
	ReadAbsent        = "absent"
	ReadContradictory = "contradictory" // only a part of what the plugin adds is there
)

// String returns the read as a line of text.
func (r DirectoryRead) String() string {
	text := r.What + ": " + cmp.Or(r.State, "reads")
	switch {
	case r.State == "":
		text += " " + r.From
	case r.From != "":
		text += " (" + r.From + ")"
	}
	if r.Note != "" {
		text += "; " + r.Note
	}
	return text
}

// presetTable is a table that a library creates, with the library's names.
type presetTable struct {
	name     string
	required bool
	columns  []string // all of them are there where the table is
	optional []string // a plugin's
}

var presetTables = map[string][]presetTable{
	BetterAuthDirectory: {
		{
			name: "user", required: true, columns: []string{"id", "name", "image"},
			optional: []string{"banned", "banExpires", "banReason", "isAnonymous"},
		},
		{
			name: "session", required: true, columns: []string{"token", "userId", "expiresAt"},
			optional: []string{"activeOrganizationId", "activeTeamId", "impersonatedBy"},
		},
		{name: "member", columns: []string{"userId", "organizationId"}},
		{name: "team", columns: []string{"id", "organizationId"}},
		{name: "teamMember", columns: []string{"userId", "teamId"}},
		{name: "invitation", optional: []string{"inviterId"}},
	},
	AuthJSDirectory: {
		{name: "users", required: true, columns: []string{"id", "name", "image"}},
		{name: "sessions", required: true, columns: []string{"sessionToken", "userId", "expires"}},
	},
}

// A presetRead is a line of [DirectoryRead]. A plugin adds all that the line needs. If a
// database has only some of it, or only other signs of the plugin, the rest was
// renamed, and usher would not see it.
type presetRead struct {
	what  string
	needs []string // tables and columns that usher reads
	signs []string // of the same plugin
}

var presetReads = map[string][]presetRead{
	BetterAuthDirectory: {
		{what: "users", needs: []string{"user"}},
		{what: "sessions", needs: []string{"session"}},
		{"bans", []string{"user.banned", "user.banExpires"}, []string{"user.banReason", "session.impersonatedBy"}},
		{"active organization", []string{"session.activeOrganizationId"}, []string{"member", "team", "invitation.inviterId"}},
		{"members", []string{"member"}, []string{"session.activeOrganizationId", "team", "invitation.inviterId"}},
		{"teams", []string{"team", "teamMember"}, []string{"session.activeTeamId"}},
		{what: "anonymous users", needs: []string{"user.isAnonymous"}},
	},
	AuthJSDirectory: {
		{what: "users", needs: []string{"users"}},
		{what: "sessions", needs: []string{"sessions"}},
	},
}

// presetColumn is a column in the database.
type presetColumn struct{ table, name, typ string }

// presetNames are the names of a preset's tables and columns in one database.
type presetNames struct {
	schema         string
	tables         map[string]string       // by the library's name
	columns        map[string]presetColumn // by table.column
	allowAnonymous bool

	fromDatabase bool              // else the library's own names
	faults       map[string]string // by table or table.column: why it cannot be read
}

// PresetDirectory returns a preset's definition for the database's tables, and what
// it reads of them. If they differ from what the library creates, or contradict each
// other, the error is [admin.ErrInvalid] and says what to do; reads then shows what was
// found.
func (db *DB) PresetDirectory(ctx context.Context, p Preset) (d DirectoryDefinition, reads []DirectoryRead, err error) {
	if _, ok := presetTables[p.Name]; !ok {
		if len(p.Tables) > 0 || len(p.Columns) > 0 || p.AllowAnonymous {
			return d, nil, refuse(admin.ErrInvalid, "directory %s has no table and column names to choose: leave out --table, --column and --allow-anonymous", p.Name)
		}
		return BuiltInDirectory(p.Name, p.Schema)
	}
	if !plainSchema.MatchString(p.Schema) {
		return d, nil, refuseSchema(p.Schema)
	}
	var names *presetNames
	err = db.transact(ctx, "preset", func(ctx context.Context, tx pgx.Tx) error {
		type column struct{ Table, Name, Type string }
		rows, err := list[column](ctx, tx, "preset", statement("application_columns"), pgx.StrictNamedArgs{"schema": p.Schema})
		if err != nil {
			return err
		}
		there := map[string]map[string]string{}
		for _, c := range rows {
			if there[c.Table] == nil {
				there[c.Table] = map[string]string{}
			}
			there[c.Table][c.Name] = c.Type
		}
		names, err = p.find(there)
		return err
	})
	if names != nil {
		reads = names.reads(p.Name)
	}
	if err != nil {
		return d, reads, err
	}
	d, err = names.render(p.Name)
	return d, reads, err
}

// find finds the preset's tables and columns, with their types, in the
// application's schema. It returns what it found with an error, too.
func (p *Preset) find(there map[string]map[string]string) (n *presetNames, err error) {
	n = &presetNames{
		schema: p.Schema, tables: map[string]string{}, columns: map[string]presetColumn{}, allowAnonymous: p.AllowAnonymous,
		fromDatabase: true, faults: map[string]string{},
	}
	fault := func(name, format string, args ...any) {
		n.faults[name] = fmt.Sprintf(format, args...)
		err = cmp.Or(err, refuse(admin.ErrInvalid, "directory %s: %s", p.Name, n.faults[name]))
	}
	known := map[string]bool{}
	for _, t := range presetTables[p.Name] {
		known[t.name] = true
		for _, name := range slices.Concat(t.columns, t.optional) {
			known[name], known[t.name+"."+name] = true, true
		}
		table, wrong := pick(t.name, p.Tables[t.name], there, "--table "+t.name, "schema "+p.Schema)
		switch {
		case wrong != "":
			fault(t.name, "%s", wrong)
		case table == "" && t.required:
			err = cmp.Or(err, refuse(admin.ErrInvalid, "directory %s: there is no table %s.%s: start the application once so that it creates its tables, "+
				"or name their schema with --schema, or the table with --table %[3]s=NAME", p.Name, p.Schema, t.name))
		}
		if table == "" {
			continue
		}
		n.tables[t.name] = table
		for _, name := range slices.Concat(t.columns, t.optional) {
			full := t.name + "." + name
			given := p.Columns[full]
			if given == "" {
				given = p.Columns[name]
			}
			if _, ok := there[table][given]; !ok && p.Columns[full] == "" {
				// A name without a table applies to every table that has the column.
				given = ""
			}
			column, wrong := pick(name, given, there[table], "--column "+full, "table "+p.Schema+"."+table)
			switch {
			case wrong != "":
				fault(full, "%s", wrong)
			case column == "" && slices.Contains(t.columns, name):
				fault(full, "table %s.%s has no column %s: name it with --column %s=NAME", p.Schema, table, name, full)
			case column != "":
				n.columns[full] = presetColumn{table, column, there[table][column]}
			}
		}
	}
	if err == nil {
		err = p.checkNames(known, n)
	}
	if err == nil {
		for _, r := range n.reads(p.Name) {
			if r.State == ReadContradictory {
				return n, refuse(admin.ErrInvalid, "directory %s: %s cannot be read: %s", p.Name, r.What, r.Note)
			}
		}
	}
	return n, err
}

// pick returns the name that exists: the given one, the library's or its
// snake_case. It is empty if there are none. wrong says why it cannot choose.
func pick[T any](name, given string, there map[string]T, flag, where string) (found, wrong string) {
	has := func(name string) bool { _, ok := there[name]; return ok }
	snake := snakeCase(name)
	switch {
	case given != "" && !has(given):
		return "", fmt.Sprintf("%s has no %s, which %s=%[2]s names", where, given, flag)
	case given != "":
		return given, ""
	case has(name) && snake != name && has(snake):
		return "", fmt.Sprintf("%s has both %s and %s: say which one the application uses with %s=NAME", where, name, snake, flag)
	case has(name):
		return name, ""
	case has(snake):
		return snake, ""
	}
	return "", ""
}

// checkNames refuses given names that match nothing: they would have no effect.
func (p *Preset) checkNames(known map[string]bool, n *presetNames) error {
	for _, name := range slices.Sorted(maps.Keys(p.Tables)) {
		if !slices.ContainsFunc(presetTables[p.Name], func(t presetTable) bool { return t.name == name }) {
			return refuse(admin.ErrInvalid, "directory %s reads no table %s: use one of its own names with --table", p.Name, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Columns)) {
		used := false
		for full, column := range n.columns {
			used = used || (full == name || strings.HasSuffix(full, "."+name)) && column.name == p.Columns[name]
		}
		switch {
		case !known[name]:
			return refuse(admin.ErrInvalid, "directory %s reads no column %s: use one of its own names with --column", p.Name, name)
		case !used:
			return refuse(admin.ErrInvalid, "directory %s: no table has the column %s that --column %s=%[2]s names", p.Name, p.Columns[name], name)
		}
	}
	if p.AllowAnonymous && !n.has("user.isAnonymous") {
		return refuse(admin.ErrInvalid, "directory %s: there is no column isAnonymous, so --allow-anonymous has no effect: leave it out", p.Name)
	}
	return nil
}

// reads lists what the preset reads in this database, or would read.
func (n *presetNames) reads(preset string) []DirectoryRead {
	var reads []DirectoryRead
	for _, r := range presetReads[preset] {
		read := DirectoryRead{What: r.what, From: strings.Join(n.columnsOf(r.needs), ", ")}
		if n.fromDatabase {
			read.State, read.Note = n.state(&r)
		}
		if read.State == ReadAbsent || read.State == ReadContradictory {
			read.From = ""
		}
		if slices.Contains(r.needs, "user.isAnonymous") && read.From != "" {
			read.Note = "disabled: allow them with --allow-anonymous"
			if n.allowAnonymous {
				read.Note = "allowed"
			}
		}
		reads = append(reads, read)
	}
	return reads
}

// state says whether a database has what a line needs, and what contradicts it.
func (n *presetNames) state(r *presetRead) (state, note string) {
	var found, missing []string
	for _, name := range r.needs {
		for _, required := range requires(name) {
			if fault := n.faults[required]; fault != "" {
				return ReadContradictory, fault
			}
		}
		if n.has(name) {
			found = append(found, name)
		} else {
			missing = append(missing, name)
		}
	}
	for _, name := range r.signs {
		if n.has(name) {
			found = append(found, name)
		}
	}
	switch {
	case len(missing) == 0:
		return ReadFound, ""
	case len(found) == 0:
		return ReadAbsent, ""
	}
	flag := "--table " + missing[0]
	if strings.Contains(missing[0], ".") {
		flag = "--column " + missing[0]
	}
	return ReadContradictory, fmt.Sprintf("there is %s and no %s. If the application renamed it, name it with %s=NAME",
		strings.Join(found, ", "), strings.Join(missing, ", "), flag)
}

// columnsOf returns the columns of tables, and columns, by the application's names.
func (n *presetNames) columnsOf(names []string) (columns []string) {
	for _, name := range names {
		for _, full := range requires(name) {
			if c, ok := n.columns[full]; ok {
				columns = append(columns, c.table+"."+c.name)
			}
		}
	}
	return columns
}

// requires returns a table and the columns that it always has, or a column alone.
func requires(name string) []string {
	names := []string{name}
	for _, t := range slices.Concat(presetTables[BetterAuthDirectory], presetTables[AuthJSDirectory]) {
		for _, column := range t.columns {
			if t.name == name {
				names = append(names, name+"."+column)
			}
		}
	}
	return names
}

// defaultNames are the library's names, with all its plugins.
func defaultNames(preset, schema string) *presetNames {
	n := &presetNames{schema: schema, tables: map[string]string{}, columns: map[string]presetColumn{}}
	for _, t := range presetTables[preset] {
		n.tables[t.name] = t.name
		for _, name := range slices.Concat(t.columns, t.optional) {
			n.columns[t.name+"."+name] = presetColumn{table: t.name, name: name}
		}
	}
	return n
}

// render fills the names into the preset's SQL.
func (n *presetNames) render(preset string) (DirectoryDefinition, error) {
	text, err := directories.ReadFile("directories/" + preset + ".sql")
	if err != nil {
		return DirectoryDefinition{}, err
	}
	t, err := template.New(preset).Option("missingkey=error").Funcs(template.FuncMap{
		"table": func(name string) string { return pgx.Identifier{n.schema, n.tables[name]}.Sanitize() },
		"has":   n.has,
		"name":  func(name string) string { return pgx.Identifier{n.columns[name].name}.Sanitize() },
		"col": func(alias, name string) (string, error) {
			c, ok := n.columns[name]
			if !ok {
				return "", fmt.Errorf("no column %s", name)
			}
			return alias + "." + pgx.Identifier{c.name}.Sanitize(), nil
		},
		// A time without a zone is UTC in both libraries, whatever the session's zone.
		"time": func(alias, name string) string {
			c := n.columns[name]
			column := alias + "." + pgx.Identifier{c.name}.Sanitize()
			switch c.typ {
			case "timestamp with time zone", "": // the library's own
				return column
			case "timestamp without time zone":
				return "(" + column + " AT TIME ZONE 'UTC')"
			}
			return fmt.Sprintf(`(CASE WHEN %[1]s::text ~ 'T.*(Z|[+-]\d\d(:?\d\d)?)$' THEN %[1]s::text::timestamptz ELSE %[1]s::text::timestamp AT TIME ZONE 'UTC' END)`, column)
		},
		"refuseAnonymous": func() bool { return !n.allowAnonymous && n.has("user.isAnonymous") },
		"reads": func() string {
			var lines strings.Builder
			for _, r := range n.reads(preset) {
				fmt.Fprintf(&lines, "    -- %s\n", r)
			}
			return strings.TrimRight(lines.String(), "\n")
		},
	}).Parse(string(text))
	if err != nil {
		return DirectoryDefinition{}, err
	}
	var sql strings.Builder
	if err := t.Execute(&sql, nil); err != nil {
		return DirectoryDefinition{}, err
	}
	return DirectoryDefinition{Name: preset, SQL: sql.String()}, nil
}

// has reports whether the database has a table, or a column as table.column.
func (n *presetNames) has(name string) bool {
	_, table := n.tables[name]
	_, column := n.columns[name]
	return table || column
}

var upperCase = regexp.MustCompile(`[A-Z]`)

// snakeCase turns activeOrganizationId into active_organization_id, as Better
// Auth's command for Drizzle does.
func snakeCase(name string) string {
	return upperCase.ReplaceAllStringFunc(name, func(letter string) string { return "_" + strings.ToLower(letter) })
}
