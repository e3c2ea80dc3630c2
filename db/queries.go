package db

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed queries/*.sql
var queryFiles embed.FS

// statements are the SQL statements in ./queries, by name.
var statements = func() map[string]string {
	all := map[string]string{}
	entries, err := queryFiles.ReadDir("queries")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, e := range entries {
		text, err := queryFiles.ReadFile("queries/" + e.Name())
		if err != nil {
			panic(err)
		}
		names := statementName.FindAllStringSubmatch(string(text), -1)
		for i, sql := range statementName.Split(string(text), -1)[1:] {
			name := names[i][1]
			if _, twice := all[name]; twice {
				panic(fmt.Sprintf("db: two statements are named %s", name))
			}
			all[name] = strings.TrimSpace(sql)
		}
	}
	return all
}()

var statementName = regexp.MustCompile(`(?m)^-- name: (\w+)\n`)

// statement returns the SQL of that name in ./queries. A test checks that every name
// in the code exists, and that every statement is used.
func statement(name string) string {
	sql, ok := statements[name]
	if !ok {
		panic("db: no statement is named " + name)
	}
	return sql
}
