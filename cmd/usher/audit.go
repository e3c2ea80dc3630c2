package main

import (
	"github.com/usher-auth/usher/permissions"
)

type auditCmd struct {
	Log          auditLogCmd          `cmd:"" help:"List the newest decisions: tokens issued, and denials."`
	WhoCan       auditWhoCanCmd       `cmd:"" aliases:"who-could" help:"List who can open a room or a store, or could at a time in the past."`
	WhatCan      auditWhatCanCmd      `cmd:"" help:"List what a user can open."`
	Why          auditWhyCmd          `cmd:"" help:"Explain why a user can or cannot open a room or a store, grant by grant."`
	Holders      auditHoldersCmd      `cmd:"" help:"List the tokens that opened a room or a store at a given time, and their users."`
	Tokens       auditTokensCmd       `cmd:"" help:"List the tokens issued to a user."`
	Members      auditMembersCmd      `cmd:"" help:"List past and present memberships."`
	UnusedGrants auditUnusedGrantsCmd `cmd:"" help:"List the grants that no token used since a given time."`
	RiskyGrants  auditRiskyGrantsCmd  `cmd:"" help:"List the grants and API keys that need a review."`

	Verify     auditVerifyCmd     `cmd:"" help:"Check that no sealed row was changed, deleted or inserted. Exit code 1 if one was."`
	Prove      auditProveCmd      `cmd:"" help:"Print a proof that a token is in the audit."`
	CheckProof auditCheckProofCmd `cmd:"" help:"Check the proof of a token, offline."`
	PublicKey  auditPublicKeyCmd  `cmd:"" help:"Print the public keys of the audit's checkpoints."`
	Forget     auditForgetCmd     `cmd:"" help:"Erase a user's personal data from the audit."`
	Prune      auditPruneCmd      `cmd:"" help:"Drop old months of the audit. Run as the database's owner."`
}

// askFlags are common to the auditors' questions. Each question uses one function or
// view of schema audit: see docs/audit.md.
type askFlags struct {
	listFlags
	CSV bool `name:"csv" xor:"format" help:"Print CSV. Text that a spreadsheet would run as a formula gets an apostrophe in front."`
}

// answer prints the rows as a table, or as JSON or CSV if a flag says so.
func answer[T any](out *console, flags *askFlags, found []T, header []string, row func(T) []string) error {
	if flags.CSV {
		return printCSV(out.out, found, header, row)
	}
	return printList(out, &flags.listFlags, found, header, row)
}

// resourceFlags name one room or store.
type resourceFlags struct {
	Room  string `required:"" xor:"resource" placeholder:"ID" help:"The room."`
	Store string `required:"" xor:"resource" placeholder:"ID" help:"The store."`
}

func (f *resourceFlags) resource() (permissions.Resource, error) {
	kind, id := resource(f.Room, f.Store)
	return permissions.Resource{Kind: kind, ID: id}, permissions.CheckID(kind, id)
}
