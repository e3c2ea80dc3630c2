package main

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type auditCmd struct {
	Log          auditLogCmd     `cmd:"" help:"List the newest decisions: tokens issued, and denials."`
	Explain      auditExplainCmd `cmd:"" help:"Say which token a user would get, and why. Issues none."`
	WhoCan       whoCanCmd       `cmd:"" aliases:"who-could" help:"List who may open a room or a store, or could at a time in the past."`
	WhatCan      whatCanCmd      `cmd:"" help:"List what a user may open."`
	Why          whyCmd          `cmd:"" help:"Say why a user may open a room or a store or not, grant by grant, with those that do not count."`
	Holders      holdersCmd      `cmd:"" help:"List whose token opened a room or a store at some time."`
	Tokens       tokensCmd       `cmd:"" help:"List the tokens that a user was given."`
	Members      membersCmd      `cmd:"" help:"List who was ever a member, of what, and since when."`
	UnusedGrants unusedGrantsCmd `cmd:"" help:"List the grants that no token has made use of."`
	RiskyGrants  riskyGrantsCmd  `cmd:"" help:"List the grants and keys that somebody should look at."`

	Verify     auditVerifyCmd     `cmd:"" help:"Find whatever was changed, deleted or inserted since it was sealed; exit code 1 where something was."`
	Prove      auditProveCmd      `cmd:"" help:"Print a proof that a token is in the audit."`
	CheckProof auditCheckProofCmd `cmd:"" help:"Check such a proof, offline."`
	PublicKey  auditPublicKeyCmd  `cmd:"" help:"Print the public key of the audit's checkpoints."`
	Forget     auditForgetCmd     `cmd:"" help:"Erase a user's personal data from the audit."`
	Prune      auditPruneCmd      `cmd:"" help:"Drop the audit's old months. Run as the database's owner."`
}

type auditLogCmd struct {
	adminFlags
	User   string `placeholder:"ID" help:"Of this user alone."`
	AtMost int    `default:"20" help:"How many."`
}

func (c *auditLogCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	decisions, err := database.Decisions(ctx, admin.DecisionFilter{User: c.User}, admin.Page[admin.DecisionPlace]{Limit: c.AtMost})
	if err != nil {
		return err
	}
	header := []string{"AT", "RESULT", "COUNT", "REASON", "USER", "ROOM", "STORE", "PATTERNS", "JTI"}
	return printList(out.out, c.JSON, decisions, header, func(d admin.Decision) []string {
		patterns := ""
		if d.Patterns != nil {
			text, _ := json.Marshal(d.Patterns) // rules always marshal
			patterns = string(text)
		}
		count := "1"
		if d.Count != nil {
			count = strconv.FormatInt(*d.Count, 10)
		}
		return []string{
			timeCell(&d.IssuedAt), d.Result, count, textCell(d.Reason), textCell(d.UserID), textCell(d.Room), textCell(d.Store),
			patterns, textCell(d.JTI),
		}
	})
}
