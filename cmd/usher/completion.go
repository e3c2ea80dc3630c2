package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell: bash, zsh or fish. Load the script with: source <(usher completion bash)."`
}

// A completion lists the words that can follow a command.
type completion struct {
	path     string // "usher audit"
	children []*kong.Node
	flags    []*kong.Flag
}

// Run prints a script that knows every command and flag.
func (c *completionCmd) Run(app *kong.Kong, out *console) error {
	var all []completion
	collectCompletions(app.Model.Node, "usher", &all)
	switch c.Shell {
	case "bash":
		return bashCompletion(out.out, all)
	case "zsh":
		fmt.Fprintln(out.out, "#compdef usher\nautoload -U +X bashcompinit && bashcompinit")
		return bashCompletion(out.out, all)
	}
	return fishCompletion(out.out, all)
}

func collectCompletions(node *kong.Node, path string, all *[]completion) {
	c := completion{path: path}
	for _, child := range node.Children {
		if !child.Hidden {
			c.children = append(c.children, child)
		}
	}
	for _, level := range node.AllFlags(true) {
		c.flags = append(c.flags, level...)
	}
	*all = append(*all, c)
	for _, child := range c.children {
		collectCompletions(child, path+" "+child.Name, all)
	}
}

// words are the subcommands and the flags.
func (c *completion) words() string {
	var words []string
	for _, child := range c.children {
		words = append(words, child.Name)
	}
	for _, flag := range c.flags {
		words = append(words, "--"+flag.Name)
	}
	return strings.Join(words, " ")
}

// enums are the flags with a fixed set of values.
func (c *completion) enums() (lines []string) {
	for _, flag := range c.flags {
		if values := flag.EnumSlice(); flag.Enum != "" && len(values) > 0 {
			lines = append(lines, fmt.Sprintf("    \"%s --%s\") words=\"%s\" ;;", c.path, flag.Name, strings.Join(values, " ")))
		}
	}
	return lines
}

func bashCompletion(w io.Writer, all []completion) error {
	var b strings.Builder
	b.WriteString(`_usher() {
  local path=usher word words current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
`)
	for _, c := range all[1:] {
		fmt.Fprintf(&b, "    \"%s\") path=\"%[1]s\" ;;\n", c.path)
	}
	b.WriteString("    esac\n  done\n  case \"$path $previous\" in\n")
	for _, c := range all {
		for _, line := range c.enums() {
			b.WriteString(line + "\n")
		}
	}
	b.WriteString("    *) case \"$path\" in\n")
	for _, c := range all {
		fmt.Fprintf(&b, "      \"%s\") words=\"%s\" ;;\n", c.path, c.words())
	}
	b.WriteString(`    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _usher usher
`)
	_, err := io.WriteString(w, b.String())
	return err
}

func fishCompletion(w io.Writer, all []completion) error {
	quote := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
	}
	var b strings.Builder
	b.WriteString(`function __usher_path
    set -l path usher
    for word in (commandline -opc)[2..-1]
        switch "$path $word"
`)
	for _, c := range all[1:] {
		fmt.Fprintf(&b, "            case %s\n                set path %[1]s\n", quote(c.path))
	}
	b.WriteString("        end\n    end\n    test \"$path\" = \"$argv\"\nend\ncomplete -c usher -f\n")
	for _, c := range all {
		condition := quote("__usher_path " + c.path)
		for _, child := range c.children {
			fmt.Fprintf(&b, "complete -c usher -n %s -a %s -d %s\n", condition, child.Name, quote(child.Help))
		}
		for _, flag := range c.flags {
			fmt.Fprintf(&b, "complete -c usher -n %s -l %s -d %s", condition, flag.Name, quote(flag.Help))
			if !flag.IsBool() {
				b.WriteString(" -r")
			}
			if flag.Enum != "" {
				fmt.Fprintf(&b, " -a %s", quote(strings.Join(flag.EnumSlice(), " ")))
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
