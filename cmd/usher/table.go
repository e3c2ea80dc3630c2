package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// printJSON prints v, indented.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// printList prints items as a table, one row each, or as a JSON array of them.
func printList[T any](w io.Writer, asJSON bool, items []T, header []string, row func(T) []string) error {
	if asJSON {
		return printJSON(w, items)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(header, "\t"))
	for _, item := range items {
		cells := row(item)
		for i := range cells {
			cells[i] = cell(cells[i])
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

// printCSV prints items as CSV (RFC 4180) with a line of names.
func printCSV[T any](w io.Writer, items []T, header []string, row func(T) []string) error {
	out := csv.NewWriter(w)
	names := make([]string, len(header))
	for i, name := range header {
		names[i] = strings.ToLower(strings.ReplaceAll(name, " ", "_"))
	}
	if err := out.Write(names); err != nil {
		return err
	}
	for _, item := range items {
		cells := row(item)
		for i := range cells {
			cells[i] = csvCell(cells[i])
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// csvCell puts an apostrophe before a text that a spreadsheet would run as a
// formula (OWASP, CSV injection): ids are chosen by strangers.
func csvCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

// cell keeps a text in its place: what would break the table, or tell the
// terminal to do something, is quoted.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// textCell writes a text; nil is none.
func textCell(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// idCell writes an id; 0 is none.
func idCell(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// yesCell writes yes or no.
func yesCell(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// timeCell writes a time to the second; nil is none.
func timeCell(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
