package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// versionFlag is --version.
type versionFlag bool

// BeforeReset prints the version and ends, as --help does.
func (versionFlag) BeforeReset(app *kong.Kong, out *console) error {
	err := (&versionCmd{}).Run(out)
	app.Exit(0)
	return err
}

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

// version is set by the linker when a release is built.
var version string

// build identifies the source of this program.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source; "+dirty" if it has uncommitted changes
	Go       string `json:"go"`
}

func (c *versionCmd) Run(out *console) error {
	b := readBuild()
	if c.JSON {
		return printJSON(out.out, b)
	}
	line := "usher " + b.Version
	if b.Revision != "" {
		line += " (" + b.Revision + ")"
	}
	_, err := fmt.Fprintf(out.out, "%s, %s\n", line, b.Go)
	return err
}

func readBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{Version: "unknown", Go: "unknown"}
	}
	b := build{Version: cmp.Or(version, info.Main.Version, "(devel)"), Go: info.GoVersion}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if b.Revision != "" {
		b.Revision += dirty
	}
	return b
}
