package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// printJSON prints v, indented. Characters that could control a terminal or
// reorder text are escaped: JSON readers see no difference.
func printJSON(w io.Writer, v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escape(text.String(), "\n"))
	return err
}

// escape replaces every character that is not printable, except those in keep, by \u
// and its UTF-16 code units.
func escape(text, keep string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) || strings.ContainsRune(keep, r) }
	if !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if plain(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// listFlags are adminFlags of a command that prints a list.
type listFlags struct {
	adminFlags
	Wide bool `help:"Print every column in full, also on a narrow terminal."`
}

// printList prints items as a table, one row each, or as a JSON array of them.
func printList[T any](out *console, flags *listFlags, items []T, header []string, row func(T) []string) error {
	if flags.JSON {
		return printJSON(out.out, items)
	}
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	width := 0
	if !flags.Wide {
		width = terminalWidth(out.out)
	}
	fitted, err := printTable(out.out, width, header, rows)
	if err == nil && fitted {
		fmt.Fprintln(out.err, "usher: some columns are cut to fit the terminal: print everything with --wide or --json")
	}
	return err
}

// terminalWidth returns the number of columns of a terminal, and 0 for a file
// or a pipe. COLUMNS takes precedence.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return int(size.Col)
}

// printTable prints a table with a maximum width (0: no limit). It reports whether it
// had to shorten cells or leave out columns.
func printTable(w io.Writer, width int, header []string, rows [][]string) (fitted bool, err error) {
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
	}
	rows = slices.Concat([][]string{header}, rows)
	if width > 0 {
		rows, fitted = fit(rows, width)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return fitted, table.Flush()
}

// fit shortens the widest columns of a table, and leaves out the last ones if that is
// not enough. The first column is never shortened, because it is the argument of other
// commands.
func fit(rows [][]string, width int) (_ [][]string, fitted bool) {
	const gap, narrowest = 2, 10
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	total := func() int {
		sum := gap * (len(widths) - 1)
		for _, n := range widths {
			sum += n
		}
		return sum
	}
	for total() > width && len(widths) > 1 {
		fitted = true
		widest := 1
		for i := range widths[1:] {
			if widths[i+1] > widths[widest] {
				widest = i + 1
			}
		}
		if widths[widest] > narrowest {
			widths[widest]--
		} else {
			widths = widths[:len(widths)-1]
		}
	}
	if !fitted {
		return rows, false
	}
	narrow := make([][]string, len(rows))
	for n, row := range rows {
		for i, text := range row[:len(widths)] {
			if runes := []rune(text); len(runes) > widths[i] {
				text = string(runes[:widths[i]-1]) + "…"
			}
			narrow[n] = append(narrow[n], text)
		}
	}
	return narrow, true
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

// csvCell puts an apostrophe before a text that a spreadsheet would run as a formula
// (OWASP, CSV injection), and escapes characters that could control a terminal, because
// strangers choose ids.
func csvCell(text string) string {
	if first, _ := utf8.DecodeRuneInString(strings.TrimLeft(text, " ")); strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		text = "'" + text
	}
	return escape(text, "\t\r\n")
}

// cell quotes a text that would break the table or control the terminal.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// textCell writes a text; nil is empty.
func textCell(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// idCell writes an id; 0 is empty.
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

// timeCell writes a time to the second; nil is empty.
func timeCell(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
