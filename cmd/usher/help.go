package main

import (
	"github.com/alecthomas/kong"
)

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"Command to show help for."`
}

// Run prints the same as --help.
func (c *helpCmd) Run(app *kong.Kong) error {
	shown, exit := false, app.Exit
	app.Exit = func(code int) { shown = true; exit(code) }
	_, err := app.Parse(append(c.Command, "--help"))
	if shown {
		return nil // --help makes missing arguments irrelevant
	}
	return err
}
