package db

import (
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
	What string `json:"what"`
	From string `json:"from,omitempty"` // tables and columns; empty if the application has none
	Note string `json:"note,omitempty"`
}

// String returns the read as a line of text.
func (r DirectoryRead) String() string {
	text := r.What + ": "
	if r.From == "" {
		text += "not in this database"
	} else {
		text += r.From
	}
	if r.Note != "" {
		text += " (" + r.Note + ")"
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

// presetParts are the columns that a plugin adds. A database has all of them or
// none. If it has only some, the others were renamed, and usher would not see them.
var presetParts = map[string][]struct {
	what  string
	needs []string // what usher reads
	signs []string // of the same plugin
}{
	BetterAuthDirectory: {
		{"bans", []string{"user.banned", "user.banExpires"}, []string{"user.banReason", "session.impersonatedBy"}},
		{"organizations", []string{"session.activeOrganizationId", "member"}, []string{"team", "invitation.inviterId"}},
		{"teams", []string{"team", "teamMember"}, []string{"session.activeTeamId"}},
		{"anonymous users", []string{"user.isAnonymous"}, nil},
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
}

// PresetDirectory returns a preset's definition for the database's tables, and what
// it reads of them. If they differ from what the library creates, or contradict each
// other, the error is [admin.ErrInvalid] and says what to do.
func (db *DB) PresetDirectory(ctx context.Context, p Preset) (d DirectoryDefinition, reads []DirectoryRead, err error) {
	if _, ok := presetTables[p.Name]; !ok {
		if len(p.Tables) > 0 || len(p.Columns) > 0 || p.AllowAnonymous {
			return d, nil, refuse(admin.ErrInvalid, "directory %s has no table and column names to choose: leave out --table, --column and --allow-anonymous", p.Name)
		}
		d, err = BuiltInDirectory(p.Name, p.Schema)
		return d, nil, err
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
	if err != nil {
		return d, nil, err
	}
	d, err = names.render(p.Name)
	return d, names.reads(p.Name), err
}

// find finds the preset's tables and columns, with their types, in the
// application's schema.
func (p *Preset) find(there map[string]map[string]string) (*presetNames, error) {
	n := &presetNames{schema: p.Schema, tables: map[string]string{}, columns: map[string]presetColumn{}, allowAnonymous: p.AllowAnonymous}
	known := map[string]bool{}
	for _, t := range presetTables[p.Name] {
		known[t.name] = true
		table, err := p.pick(t.name, p.Tables[t.name], there, "--table "+t.name, "schema "+p.Schema)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Concat(t.columns, t.optional) {
			known[name], known[t.name+"."+name] = true, true
		}
		if table == "" {
			if t.required {
				return nil, refuse(admin.ErrInvalid, "directory %s: there is no table %s.%s: start the application once so that it creates its tables, "+
					"or name their schema with --schema, or the table with --table %[3]s=NAME", p.Name, p.Schema, t.name)
			}
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
			column, err := p.pick(name, given, there[table], "--column "+full, "table "+p.Schema+"."+table)
			if err != nil {
				return nil, err
			}
			if column == "" {
				if slices.Contains(t.columns, name) {
					return nil, refuse(admin.ErrInvalid, "directory %s: table %s.%s has no column %s: name it with --column %s=NAME", p.Name, p.Schema, table, name, full)
				}
				continue
			}
			n.columns[full] = presetColumn{table, column, there[table][column]}
		}
	}
	if err := p.checkNames(known, n); err != nil {
		return nil, err
	}
	return n, p.checkParts(n)
}

// pick returns the name that exists: the given one, the library's or its
// snake_case. It is empty if there is none of them.
func (p *Preset) pick(name, given string, there any, flag, where string) (string, error) {
	has := func(name string) bool {
		switch there := there.(type) {
		case map[string]map[string]string:
			_, ok := there[name]
			return ok
		case map[string]string:
			_, ok := there[name]
			return ok
		}
		return false
	}
	if given != "" {
		if !has(given) {
			return "", refuse(admin.ErrInvalid, "directory %s: %s has no %s, which %s=%[3]s names", p.Name, where, given, flag)
		}
		return given, nil
	}
	snake := snakeCase(name)
	switch {
	case has(name) && snake != name && has(snake):
		return "", refuse(admin.ErrInvalid, "directory %s: %s has both %s and %s: say which one the application uses with %s=NAME", p.Name, where, name, snake, flag)
	case has(name):
		return name, nil
	case has(snake):
		return snake, nil
	}
	return "", nil
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

// checkParts refuses a plugin of which only some columns exist.
func (p *Preset) checkParts(n *presetNames) error {
	for _, part := range presetParts[p.Name] {
		var found, missing []string
		for _, name := range part.needs {
			if n.has(name) {
				found = append(found, name)
			} else {
				missing = append(missing, name)
			}
		}
		for _, name := range part.signs {
			if n.has(name) {
				found = append(found, name)
			}
		}
		if len(found) == 0 || len(missing) == 0 {
			continue
		}
		flag := "--table " + missing[0]
		if strings.Contains(missing[0], ".") {
			flag = "--column " + missing[0]
		}
		return refuse(admin.ErrInvalid, "directory %s: %s cannot be read: there is %s and no %s. If the application renamed it, name it with %s=NAME",
			p.Name, part.what, strings.Join(found, ", "), strings.Join(missing, ", "), flag)
	}
	return nil
}

// reads lists what the preset reads in this database.
func (n *presetNames) reads(preset string) []DirectoryRead {
	from := func(names ...string) string {
		var texts []string
		for _, name := range names {
			if !n.has(name) {
				return ""
			}
			if table, ok := n.tables[name]; ok {
				texts = append(texts, table)
			} else {
				texts = append(texts, n.columns[name].table+"."+n.columns[name].name)
			}
		}
		return strings.Join(texts, ", ")
	}
	if preset == AuthJSDirectory {
		return []DirectoryRead{{What: "users", From: from("users")}, {What: "sessions", From: from("sessions")}}
	}
	anonymous := DirectoryRead{What: "anonymous users", From: from("user.isAnonymous")}
	if anonymous.From != "" {
		anonymous.Note = "disabled: allow them with --allow-anonymous"
		if n.allowAnonymous {
			anonymous.Note = "allowed"
		}
	}
	return []DirectoryRead{
		{What: "users", From: from("user")},
		{What: "sessions", From: from("session")},
		{What: "bans", From: from("user.banned", "user.banExpires")},
		{What: "active organization", From: from("session.activeOrganizationId")},
		{What: "members", From: from("member")},
		{What: "teams", From: from("team", "teamMember")},
		anonymous,
	}
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
